"""What is to be filled and by whom: geometry, problem, monopole and dipole, options, result, the abstract model."""
