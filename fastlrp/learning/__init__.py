"""Learning as scikit-learn has it: the regressor, the transformer, panels' preprocessing, and refits through time."""
