"""The exact answer for a Gaussian sky, and the approximations that lead to it."""
