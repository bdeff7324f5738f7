"""An explanation as one HTML page that needs nothing else."""
