"""The doctor: what is wrong with a machine, a recipe, data or a run, what it means and what mends it."""
