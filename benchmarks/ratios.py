"""A minute that tells whether a change made something slower, on any machine: times as ratios to a spherical transform.

    python benchmarks/ratios.py            # compare with benchmarks/results/ratios.json; leaves with 1 if slower
    python benchmarks/ratios.py --store    # replace what is stored

Each part is timed on one core, in processor time, in turn with ducc0's synthesis and adjoint at nside 128; the ratio is
that of the best of five runs each. Ratios vary by a fifth from run to run, on a busy machine by a factor of two; beyond
1.5 times the stored one a part is slower.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ducc0
import healpy as hp
import numpy as np
from threadpoolctl import threadpool_limits

from cmbinpaint import compare_spectra, inpaint_map, plan_inpainting, read_map, write_map
from cmbinpaint.sims import SkyModel, estimate_sky_model, fiducial_cl, simulate_sky

STORED = Path(__file__).parent / "results" / "ratios.json"
SLOWER = 1.5
RUNS = 5
NSIDE = 64


def ratio(work: Callable[[], object], unit: Callable[[], object]) -> float:
    """The least processor time of some runs, over that of runs of `unit` between them."""
    pairs = [(timed(work), timed(unit)) for _ in range(RUNS)]
    return min(own for own, _ in pairs) / min(units for _, units in pairs)


def timed(work: Callable[[], object]) -> float:
    """Processor time, in seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def transforms() -> Callable[[], object]:
    """What everything is measured by, which no change here touches: ducc0's transforms at nside 128, ten times."""
    rings = ducc0.healpix.Healpix_Base(128, "RING").sht_info()
    sky = np.random.default_rng(0).standard_normal((1, 12 * 128**2))

    def work() -> None:
        for _ in range(10):
            alm = ducc0.sht.adjoint_synthesis(map=sky, spin=0, lmax=383, nthreads=1, **rings)
            ducc0.sht.synthesis(alm=alm, spin=0, lmax=383, nthreads=1, **rings)

    return work


def parts(folder: Path) -> dict[str, Callable[[], object]]:
    """What is timed: the way of a map at nside 64 behind a Galactic cut and 60 round holes."""
    cl, fwhm = fiducial_cl(3 * NSIDE - 1), np.radians(2.75)
    rng = np.random.default_rng(0)
    sky = simulate_sky(cl, NSIDE, fwhm=fwhm, noise_std=3.0, seed=0)
    mask = np.abs(hp.pix2ang(NSIDE, np.arange(sky.size), lonlat=True)[1]) > 10
    for center in rng.standard_normal((60, 3)):
        mask[hp.query_disc(NSIDE, center, np.radians(3))] = False
    model = SkyModel.from_theory(cl, NSIDE, fwhm=fwhm, noise_std=3.0)
    plan = plan_inpainting(mask)
    filled = inpaint_map(sky, plan=plan, sky_model=model, seed=0)
    large = simulate_sky(fiducial_cl(300), 512, lmax=300, seed=0)

    def files() -> None:
        write_map(folder / "map.fits", large, unit="uK_CMB", overwrite=True)
        read_map(folder / "map.fits")

    return {
        "inpaint_map, first map": lambda: inpaint_map(sky, mask, sky_model=model, seed=0),
        "inpaint_map, next map": lambda: inpaint_map(sky, plan=plan, sky_model=model, seed=0),
        "inpaint_map, kriging": lambda: inpaint_map(sky, mask, sky_model=model, model="kriging", seed=0),
        "estimate_sky_model": lambda: estimate_sky_model(sky, mask, nside=NSIDE),
        "simulate_sky, ten": lambda: [
            simulate_sky(cl, NSIDE, fwhm=fwhm, noise_std=3.0, seed=i) for i in range(10)
        ],
        "compare_spectra": lambda: compare_spectra(filled, observed=sky, mask=mask),
        "write_map, read_map, nside 512": files,
    }


def slower(now: dict[str, float], before: dict[str, float]) -> list[str]:
    """The parts whose ratio grew beyond `SLOWER`, and those that are in one of the two only."""
    return [name for name in now if name in before and now[name] > SLOWER * before[name]] + sorted(
        set(now) ^ set(before)
    )


def main() -> int:
    """Measure; print a table; store or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", action="store_true", help="replace the stored run")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    unit = transforms()
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        now = {name: ratio(work, unit) for name, work in parts(Path(folder)).items()}
    before = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    print(f"{'':32}{'ratio':>8}{'stored':>8}{'change':>8}")
    for name, value in now.items():
        known = before.get(name, float("nan"))
        print(f"{name:32}{value:8.3f}{known:8.3f}{value / known:8.2f}")
    if args.store:
        rounded = {name: float(f"{value:.3g}") for name, value in now.items()}
        STORED.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
        return 0
    worse = slower(now, before)
    print(f"slower, or not stored: {', '.join(worse)}" if worse else "nothing is slower than stored")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
