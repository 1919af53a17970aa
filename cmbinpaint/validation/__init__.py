"""How good a fill is: excess error, calibration, coverage, misspecified skies, the self-check."""
