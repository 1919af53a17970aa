"""The mean of the signal alone where colored noise is filled with it.

Inputs: a solution for the sum of both. Outputs: the signal's part of it.

Isotropic colored noise is a second sky to the solver, which holds their sum S + N to be one. Given the sum, the data
say no more of its parts, so `E[s | d] = S (S + N)⁻¹ E[s + n | d]` at each ell.
"""

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.gaussian.convergence import Solution
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.sims.sky_model import SkyModel


def signal_of(solution: Solution, solver: GaussianSolver, sky_model: SkyModel) -> FloatArray:
    """(npix,) or (k, npix): the mean without the colored noise in it; the solution has to have its modes."""
    if solution.modes is None:
        raise CmbInpaintError("the solution has no modes; solve(keep_modes=True) keeps them")
    alm = solver.root.apply(solution.modes)
    colored = solver.harmonics.synthesis(sky_model.colored_share.apply(alm, out=alm))
    return solution.mean - colored.reshape(solution.mean.shape)
