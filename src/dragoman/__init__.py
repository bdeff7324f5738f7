"""Sequence-to-sequence models that you can train, trust, explain, export and serve."""
