"""sims: to be filled."""
