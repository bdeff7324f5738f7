"""What a run is, as validated frozen data."""
