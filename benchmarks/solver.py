"""Steps, seconds and memory of the exact solver on a manufactured solution.

    python benchmarks/solver.py --nside 128 --lmax 256 --mask MASK.fits -o benchmarks/results/solver_128.json

A field x is drawn, the right-hand side is made from it, and x is looked for from zero: the error is known. It is
compared in the holes, over the signal's rms there.
"""

import resource
import time

import numpy as np
from common import NOISE_STD, Setting, arguments, theory, write

from cmbinpaint.gaussian.convergence import Convergence
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.harmonics import draw_alm
from cmbinpaint.sphere.pixels import pixel_size

ACCURACY = 1e-3


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--diagonal", action="store_true", help="with the diagonal preconditioner too")
    parser.add_argument("--lmax", type=int, help="default: where the signal falls below the noise")
    args = parser.parse_args()
    setting = Setting.at(args.nside, args.mask)
    valid, model = setting.plan.valid, setting.sky_model
    if args.lmax is not None:
        model = SkyModel.from_theory(
            theory(args.nside),
            args.nside,
            fwhm=3 * pixel_size(args.nside),
            noise_std=NOISE_STD,
            lmax=args.lmax,
        )
    fsky, n_holes = setting.plan.fsky, int(np.count_nonzero(~valid))
    del setting  # whole maps
    result = {}
    for how, limit in (("holes", 100), ("diagonal", 3000))[: 1 + args.diagonal]:
        start = time.perf_counter()
        solver = GaussianSolver(valid, model, precondition=how)
        ready = time.perf_counter() - start
        result[how] = {"setup_s": ready, **manufactured(solver, model.lmax, limit)}
        result[how]["total_s"] = ready + result[how]["seconds"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    write(
        {
            "what": "solver", "nside": args.nside, "lmax": model.lmax, "fsky": fsky, "n_holes": n_holes,
            "accuracy": ACCURACY, **result, "peak_GiB": peak,
        },
        args.output,
    )  # fmt: skip


def manufactured(solver: GaussianSolver, lmax: int, limit: int) -> dict[str, object]:
    chosen = draw_alm(np.r_[0.0, 0.0, np.ones(lmax - 1)], np.random.default_rng(0))[None]
    holes = np.flatnonzero(~solver.valid[0])
    truth = solver.harmonics.synthesis(solver.root.apply(chosen))[0, holes]
    right = solver.apply(chosen)
    del chosen
    found = np.zeros_like(right)
    errors, seconds = [], [0.0]

    class Watch(Convergence):
        """Sees the holes move, and so knows the error; its time does not count."""

        def __init__(self) -> None:
            super().__init__(np.zeros(holes.size, np.int8), np.ones(1))
            self.left = truth[np.searchsorted(holes, solver.holes)].copy()
            self.begin = time.perf_counter()

        def record(self, moved: np.ndarray, amplitudes: np.ndarray | None = None) -> float:
            now = time.perf_counter()
            seconds.append(seconds[-1] + now - self.begin)
            self.left -= moved
            errors.append(float(np.std(self.left) / np.std(truth)))
            self.remaining = 0.0 if errors[-1] < ACCURACY else 1.0
            self.begin = time.perf_counter()
            return errors[-1]

    steps = solver.iterate(found, right, limit, 0.5, Watch())
    return {"steps": steps, "seconds": seconds[-1], "error": errors[-1], "errors": errors[:20]}


if __name__ == "__main__":
    main()
