"""From a model and an input to hypotheses."""
