"""Learning in scikit-learn's style: the regressor, the transformer, panel preprocessing, and refits through time."""
