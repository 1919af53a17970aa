"""What filling costs, against the number of hole pixels and against the number of maps.

    python benchmarks/cost.py -o benchmarks/results/cost.json --figure docs/figures/cost.png

Processor time of one thread: the plan of masks of discs with a radius of 2 degrees, more and more of them, and the next
map; then map after map behind one mask. Beam of three pixels, 3 µK a pixel, the sky model given.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything loads a thread pool

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import healpy as hp
import matplotlib
import numpy as np
from common import Setting, save_small, write

from cmbinpaint import inpaint_map, plan_inpainting
from cmbinpaint.sims.sky_model import SkyModel

matplotlib.use("Agg")
from matplotlib import pyplot as plt

FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.45)
RADIUS = np.radians(2.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nside", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--maps", type=int, default=20)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    masks = [one for nside in args.nside for one in by_mask(nside)]
    maps = by_maps(args.nside[0], args.maps)
    write({"what": "cost", "masks": masks, "maps": maps}, args.output)
    if args.figure is not None:
        draw(args.figure, masks, maps)


def by_mask(nside: int) -> list[dict[str, Any]]:
    """Seconds of the plan and of the next map, and its steps, for masks that hide more and more."""
    setting = Setting.at(nside, None)
    sky, _ = setting.sky(0)
    rows = []
    for fraction in FRACTIONS:
        mask = discs(nside, fraction)
        plan, first = timed(lambda mask=mask: plan_inpainting(mask, sky_model=setting.sky_model))
        steps, second = timed(lambda plan=plan: steps_of(sky, plan, setting.sky_model, seed=1))
        rows.append({"nside": nside, "holes": int(np.count_nonzero(~mask)), "plan": first, "map": second,
                     "steps": steps})  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def by_maps(nside: int, n: int) -> list[float]:
    """Seconds until each of the maps is filled, the plan included."""
    setting = Setting.at(nside, None)
    sky, _ = setting.sky(0)
    plan, seconds = timed(lambda: plan_inpainting(setting.plan.valid, sky_model=setting.sky_model))
    found = []
    for seed in range(n):
        seconds += timed(lambda seed=seed: steps_of(sky, plan, setting.sky_model, seed))[1]
        found.append(seconds)
    return found


def discs(nside: int, fraction: float) -> np.ndarray:
    """A mask of which discs hide that fraction, the same centers for all resolutions."""
    rng, mask = np.random.default_rng(0), np.ones(hp.nside2npix(nside), dtype=bool)
    while np.mean(~mask) < fraction:
        mask[hp.query_disc(nside, rng.standard_normal(3), RADIUS)] = False
    return mask


def steps_of(sky: np.ndarray, plan: Any, sky_model: SkyModel, seed: int) -> int:
    _, info = inpaint_map(sky, plan=plan, sky_model=sky_model, unit="uK", seed=seed, return_info=True)
    return info.steps[0]


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.process_time()
    return run(), time.process_time() - begun


def draw(path: Path, masks: list[dict[str, Any]], maps: list[float]) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for color, nside in enumerate(sorted({row["nside"] for row in masks})):
        rows = [row for row in masks if row["nside"] == nside]
        holes = [row["holes"] / 1000 for row in rows]
        for style, what in (("o-", "plan"), ("s--", "map")):
            label = f"nside {nside}, {'plan' if what == 'plan' else 'next map'}"
            left.plot(holes, [row[what] for row in rows], style, ms=4, color=f"C{color}", label=label)
    left.set(xlabel="hole pixels, thousands", ylabel="processor time, s", xlim=(0, None), ylim=(0, None))
    left.legend(fontsize=8)
    right.plot(np.arange(1, len(maps) + 1), maps, "o-", ms=4, color="C0")
    right.set(xlabel="maps behind one mask", ylabel="processor time, s", xlim=(0, None), ylim=(0, None))
    save_small(figure, path)


if __name__ == "__main__":
    main()
