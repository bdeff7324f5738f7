"""A run as one HTML page: what it is, how good it is, and what to believe of it."""
