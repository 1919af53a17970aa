"""The training itself: objective, loop, checkpoints, logs, and what is exported of them."""
