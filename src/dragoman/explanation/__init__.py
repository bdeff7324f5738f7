"""What the model looked at, as pictures and text."""
