"""What optimal bandpowers cost: of one map, then of two splits with simulations, whose response is then known.

    python benchmarks/optimal_cost.py --nside 512 --workers 2 -o optimal_cost_512.json

T, beam of three pixels, noise 3 µK in each split, the package's Planck-like mask, 20 bands to 1.5 nside. With --folder
DIR a run that is killed goes on; what it then says of time is of the rest.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from common import NOISE_STD, write

from cmbinpaint import optimal_spectrum
from cmbinpaint.sims import fiducial_cl, simulate_sky
from cmbinpaint.spectra.bandpowers import log_bands
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask


def main() -> None:
    """Estimate them twice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--bands", type=int, default=20)
    parser.add_argument("--n-sims", type=int, default=100, help="pairs of splits; 0: one map only")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    nside, fwhm, cl = args.nside, 3 * pixel_size(args.nside), fiducial_cl(3 * args.nside - 1)
    signal = simulate_sky(cl, nside, fwhm=fwhm, pixwin=True, seed=0)
    splits = [
        signal + NOISE_STD * np.random.default_rng(part).standard_normal(signal.size) for part in (1, 2)
    ]
    bands = log_bands(2, 3 * nside // 2, args.bands, min_width=2)
    known = {"cl": cl, "fwhm": fwhm, "noise_std": NOISE_STD, "bins": bands, "unit": "uK", "seed": 1}
    found: dict[str, Any] = {"nside": nside, "bands": bands.n, "workers": args.workers}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or temporary
        kinds: list[tuple[str, dict[str, Any]]] = [("one map", {})]
        if args.n_sims:
            kinds.append((f"two splits, {args.n_sims} pairs", {"sky2": splits[1], "n_sims": args.n_sims}))
        for name, more in kinds:
            wall, cpu = time.perf_counter(), processor()
            with ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn")) as pool:
                best = optimal_spectrum(
                    splits[0], planck_like_mask(nside), executor=pool, folder=folder, **known, **more
                )
            distance = best.bandpowers - best.expected(cl)
            found[name] = {
                "minutes": (time.perf_counter() - wall) / 60,
                "processor minutes": (processor() - cpu) / 60,
                "lmax": best.sky_model.lmax,
                "deviations": distance / best.errors,
                "chi2": distance @ np.linalg.solve(best.covariance, distance),
            }
    found["peak GiB of a process"] = max(
        resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    write(found, args.output)


def processor() -> float:
    """Seconds of this process and of those that ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


if __name__ == "__main__":
    main()
