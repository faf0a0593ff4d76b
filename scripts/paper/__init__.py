"""The experiment of the Deep Recurrent Factor Model, and what it says of rules of relevance."""
