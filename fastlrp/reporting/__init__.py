"""A report: one self-contained page about a model, its explanation of a panel, and how far either can be trusted."""
