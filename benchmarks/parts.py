"""Where the seconds go: the parts of a plan and of the solver's steps.

    python benchmarks/parts.py --nside 512
    python benchmarks/parts.py --nside 2048 --noise-std 45 --fwhm-arcmin 5
    python benchmarks/parts.py --nside 512 --fields TQU --noise-std 3 0.3 --steps 8

Sky, mask and model are those of one_fill.py. What is not listed is the rest. Wall and processor seconds, of one step.
"""

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from common import write
from one_fill import parser_of, setting

from cmbinpaint.gaussian import conditioning_sets, neighbor_patterns, vecchia, vecchia_polarization
from cmbinpaint.gaussian.hole_values import HoleValues
from cmbinpaint.gaussian.missing_power import MissingPower
from cmbinpaint.gaussian.pixel_noise import PixelNoise
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.harmonics import Harmonics, draw_alm

PLAN = {
    "vectors, trees, order": (conditioning_sets.Conditioning, "__init__"),
    "nearest datum": (conditioning_sets._Tree, "nearest"),
    "search": (conditioning_sets, "_merged"),
    "patterns": (neighbor_patterns.Lattice, "follow"),
    "weights of T": (vecchia, "neighbor_weights"),
    "weights of Q, U": (vecchia_polarization, "pair_weights"),
    "sparse matrices of T": (vecchia, "_step"),
    "sparse matrices of Q, U": (vecchia_polarization, "_steps"),
}
STEP = {
    "synthesis": (Harmonics, "synthesis"),
    "adjoint": (Harmonics, "adjoint"),
    "of these Legendre": (Harmonics, "_by_orders"),
    "the factor's products": (vecchia.HoleFactor, "covariance"),
    "products at each ell": (EllMatrix, "apply"),
    "noise": (PixelNoise, "apply"),
    "values in holes": (HoleValues, "of"),
    "E and B power of what is missing": (MissingPower, "of"),
}


@contextmanager
def timed(parts: dict[str, tuple[Any, str]]) -> Iterator[dict[str, list[float]]]:
    """Wall and processor seconds of functions, summed over their calls in this block."""
    spent: dict[str, list[float]] = {}
    originals = [getattr(owner, name) for owner, name in parts.values()]

    def counted(label: str, function: Any) -> Any:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                sums = spent.setdefault(label, [0.0, 0.0])
                sums[0] += time.perf_counter() - wall
                sums[1] += time.process_time() - cpu

        return run

    for (label, (owner, name)), original in zip(parts.items(), originals, strict=True):
        setattr(owner, name, counted(label, original))
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield spent
    finally:
        spent["all"] = [time.perf_counter() - wall, time.process_time() - cpu]
        for (owner, name), original in zip(parts.values(), originals, strict=True):
            setattr(owner, name, original)


def main() -> None:
    """The parts of one plan and of some steps."""
    parser = parser_of(__doc__)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    model, mask, sky = setting(args.nside, args.fields, args.noise_std, args.fwhm_arcmin)
    with timed(PLAN) as plan:
        solver = GaussianSolver(mask, model)
    observed = np.where(solver.valid, sky, 0.0).reshape(sky.shape)
    with timed(STEP) as start:
        solver.solve(observed, steps=0)
    with timed(STEP) as steps:
        solver.solve(observed, steps=args.steps)
    each = {
        label: [(a - b) / args.steps for a, b in zip(sums, start.get(label, (0.0, 0.0)), strict=True)]
        for label, sums in steps.items()
    }
    for title, found in (("plan", plan), ("start", start), ("a step", each)):
        print(title)
        for label, (wall, cpu) in sorted(found.items(), key=lambda item: -item[1][0]):
            print(f"  {label:34s} {wall:8.3f} s  {cpu:8.3f} s of processor time")
    pair = {
        kind: transforms(model.nside, model.lmax, single=kind == "single") for kind in ("double", "single")
    }
    print(f"a synthesis and an adjoint of T: {pair} s of processor time")
    record = {"plan": plan, "start": start, "step": each, "transforms": pair}
    write({"what": "parts", **vars(args), "output": None, **record}, args.output)


def transforms(nside: int, lmax: int, *, single: bool) -> float:
    """Processor seconds of one synthesis and one adjoint of one field, of one thread, in double or single precision."""
    harmonics = Harmonics(nside, lmax, threads=1, single=single)
    alm = draw_alm(np.ones(lmax + 1), np.random.default_rng(0))
    if single:
        alm = alm.astype(np.complex64)
    harmonics.synthesis(alm)
    start = time.process_time()
    harmonics.adjoint(harmonics.synthesis(alm))
    return time.process_time() - start


if __name__ == "__main__":
    main()
