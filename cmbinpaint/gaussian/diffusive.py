"""Diffusive inpainting: each hole pixel is the mean of its neighbors.

Inputs: an inpainting plan. Outputs: `DiffusiveInpainter`, the simplest peer: it knows no spectrum and no noise.

The usual recipe replaces every hole pixel by the mean of its eight neighbors (seven at some corners of base
pixels), again and again. Its limit is the discrete harmonic function with the observed pixels as boundary, a
sparse linear system. Here that is solved to the end, not swept, for sweeps need the square of a hole's width:
by factorization if it is small, else by conjugate gradients, preconditioned with a cycle over resolutions in
which the four children of a coarse pixel form one unknown (aggregation multigrid, Braess 1995, Computing 55).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.errors import ConvergenceError
from cmbinpaint.gaussian.neighbors import parents
from cmbinpaint.problem.model import take_observed
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.pixels import pixel_neighbors

# Unknowns that are factorized at once: takes a tenth of a second.
DIRECT = 10_000
# Residual over the right side's norm at which the solution stands.
TOLERANCE = 1e-11
MAX_STEPS = 500
# Weight of a Jacobi sweep on the nine-point Laplacian, and of the correction from the coarser level, which
# piecewise constant aggregates make too small.
DAMPING = 0.8
OVERCORRECTION = 1.5


class _Level:
    """One resolution of the cycle: its matrix, and how its unknowns gather into those of the next."""

    def __init__(self, matrix: Any, nest: IntArray) -> None:
        self.matrix = matrix
        self.inverse = DAMPING / matrix.diagonal()
        self.coarser: _Level | None = None
        self.factor: Any = None
        if matrix.shape[0] <= DIRECT:
            self.factor = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
            return
        pixels, gather = np.unique(nest, return_inverse=True)
        n = len(nest)
        ones = np.ones(n)
        self.spread = sparse.csr_array((ones, (np.arange(n), gather)), shape=(n, len(pixels)))
        self.collect = self.spread.T.tocsr()
        self.coarser = _Level((self.collect @ matrix @ self.spread).tocsr(), pixels >> 2)

    def cycle(self, right: FloatArray) -> FloatArray:
        """An approximate solution: symmetric in `right`, as a preconditioner must be."""
        if self.coarser is None:
            return np.asarray(self.factor.solve(right))
        x = self.inverse * right
        x += self.inverse * (right - self.matrix @ x)
        x += OVERCORRECTION * (self.spread @ self.coarser.cycle(self.collect @ (right - self.matrix @ x)))
        for _ in range(2):
            x += self.inverse * (right - self.matrix @ x)
        return x

    def solve(self, right: FloatArray) -> FloatArray:
        """The solution, by conjugate gradients unless the matrix is factorized."""
        if self.coarser is None:
            return self.cycle(right)
        x, residual = np.zeros_like(right), right.copy()
        goal = TOLERANCE * float(np.linalg.norm(right))
        step, old = np.zeros_like(right), 1.0
        for _ in range(MAX_STEPS):
            if float(np.linalg.norm(residual)) <= goal:
                return x
            better = self.cycle(residual)
            new = float(residual @ better)
            step = better + (new / old) * step
            old = new
            along = self.matrix @ step
            length = new / float(step @ along)
            x += length * step
            residual -= length * along
        raise ConvergenceError(
            f"the neighbor mean did not converge in {MAX_STEPS} steps: residual "
            f"{float(np.linalg.norm(residual)):.2e}, wanted {goal:.2e}; check the map for extreme values"
        )


@dataclass(frozen=True, eq=False)
class DiffusivePredictor:
    """The neighbor mean prepared for one mask.

    Parameters
    ----------
    valid
        (npix,) bool, RING; the pixels that are data.
    targets
        (n,) int64, RING indices of the pixels to predict that are joined to data.
    adrift
        (m,) int64, RING indices of those that are not (only excluded pixels around); they get the mean of the
        map.
    boundary
        (b,) int64, RING indices of the data beside targets.
    contact
        (n, b) sparse: 1 where a datum is a neighbor of a target.
    system
        The levels of the linear system, finest first; None without targets.
    """

    valid: BoolArray
    targets: IntArray
    adrift: IntArray
    boundary: IntArray
    contact: Any
    system: _Level | None

    def predict(self, observed: FloatArray) -> FloatArray:
        """Fill the targets.

        Parameters
        ----------
        observed
            (npix,) float, RING; values where there are no data are never read.

        Returns
        -------
        (npix,) float64: `observed` where valid, the prediction in targets and guarded pixels, 0 where
        excluded. Linear in `observed` within the solution's tolerance of 1e-11.

        Raises
        ------
        MapError
            If the map has another length than the plan's.
        ConvergenceError
            If the solution is not reached.
        """
        observed = take_observed(observed, self.valid)
        filled = np.where(self.valid, observed, 0.0)
        if self.system is not None:
            edge = observed[self.boundary]
            mean = edge.mean()  # a large constant would cost digits
            filled[self.targets] = self.system.solve(self.contact @ (edge - mean)) + mean
        if len(self.adrift):
            filled[self.adrift] = observed[self.valid].mean()
        return filled


class DiffusiveInpainter:
    """The mean of the neighbors, iterated to convergence."""

    name = "diffusive"

    def prepare(self, plan: InpaintingPlan, sky_model: SkyModel | None = None) -> DiffusivePredictor:
        """Build the linear system of the plan; the sky model is not used."""
        wanted = ~plan.valid & ~plan.excluded
        targets = np.flatnonzero(wanted)
        around = pixel_neighbors(plan.nside, targets)
        matrix, contact, boundary = _laplacian(plan.valid, wanted, targets, around)
        count, island = connected_components(matrix, directed=False)
        joined = np.zeros(count, dtype=bool)
        joined[island[np.diff(contact.indptr) > 0]] = True
        kept = joined[island]
        system = None
        if kept.any():
            if not kept.all():
                matrix, contact = matrix[kept][:, kept], contact[kept]
            system = _Level(matrix, parents(plan.nside, targets[kept]))
        return DiffusivePredictor(plan.valid, targets[kept], targets[~kept], boundary, contact, system)


def _laplacian(
    valid: BoolArray, wanted: BoolArray, targets: IntArray, around: AnyArray
) -> tuple[Any, Any, IntArray]:
    """The matrix of `count * x - sum of neighboring x`, the contact with data, and these data's pixels."""
    n = len(targets)
    exists = around >= 0
    inner = exists & wanted[around]
    outer = exists & valid[around]
    number = np.full(valid.size, -1, dtype=np.int32)
    number[targets] = np.arange(n, dtype=np.int32)
    degree = (inner | outer).sum(axis=1).astype(np.float64)
    neighbors = _rows(number[around[inner]], inner, n)
    matrix = (sparse.diags_array(degree) - neighbors).tocsr()
    boundary = np.unique(around[outer]).astype(np.int64)
    number[boundary] = np.arange(len(boundary), dtype=np.int32)
    return matrix, _rows(number[around[outer]], outer, len(boundary)), boundary


def _rows(columns: AnyArray, present: BoolArray, width: int) -> Any:
    """The sparse matrix of ones with these columns, row after row."""
    starts = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int32)
    return sparse.csr_array((np.ones(len(columns)), columns, starts), shape=(len(present), width))
