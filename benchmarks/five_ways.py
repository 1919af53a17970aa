"""One hole filled five ways, and what it held: the picture of docs/which-fill.md.

    python benchmarks/five_ways.py -o docs/figures/five_ways.png

The package's own Planck-like mask, sky seed 0; the hole is the largest that does not cross the Galactic plane.
"""

import argparse
from pathlib import Path

import healpy as hp
import matplotlib.pyplot as plt
import numpy as np
from common import NOISE_STD, Setting, save_small, theory

from cmbinpaint import inpaint_map
from cmbinpaint.plots.figures import style
from cmbinpaint.plots.maps import draw_patch
from cmbinpaint.sphere.masks import hole_labels, hole_sizes
from cmbinpaint.sphere.pixels import pixel_size

NSIDE = 128
LIMIT = 250.0  # µK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    setting = Setting.at(NSIDE, None)
    sky, signal = setting.sky(0)
    plan = setting.plan
    lon, lat = typical_hole(plan.valid)
    options = {"plan": plan, "cl": theory(NSIDE), "fwhm": 3 * pixel_size(NSIDE), "noise_std": NOISE_STD}
    fills = {
        "truth": sky,
        "diffusive": inpaint_map(sky, model="diffusive", fill="prediction", **options),
        "network (refine=0)": inpaint_map(sky, fill="prediction", refine=0, **options),
        "the exact mean": inpaint_map(sky, model="gaussian", fill="prediction", **options),
    }
    realizations = inpaint_map(sky, n_realizations=2, seed=1, **options)
    fills |= {f"realization {i + 1}": m for i, m in enumerate(realizations)}
    with style():
        figure, axes = plt.subplots(2, 3, figsize=(7, 4.6), layout="constrained")
        for ax, (title, filled) in zip(axes.ravel(), fills.items(), strict=True):
            draw_patch(
                filled,
                lon,
                lat,
                side_deg=22,
                limit=LIMIT,
                title=title,
                outline=plan.valid,
                pixels=200,
                colorbar=False,
                ax=ax,
            )
        figure.colorbar(axes[0, 0].images[0], ax=axes, shrink=0.6, label="µK")
        save_small(figure, args.output, colors=64)
    holes = plan.targets
    rms = {k: float(np.sqrt(np.mean(np.square((m - signal)[holes])))) for k, m in fills.items()}
    power = {k: float(np.var(m[holes]) / np.var(sky[holes])) for k, m in fills.items()}
    for name in fills:
        print(
            f"{name}: rms error in all holes {rms[name]:.1f} uK, variance in them {power[name]:.3f} of the true"
        )


def typical_hole(valid: np.ndarray) -> tuple[float, float]:
    """Center, in degrees, of the largest hole that lies off the Galactic plane."""
    labels = hole_labels(valid)
    sizes = hole_sizes(labels)
    for number in np.argsort(-sizes) + 1:
        x, y, z = (c[labels == number].mean() for c in hp.pix2vec(NSIDE, np.arange(valid.size)))
        lon, lat = hp.vec2ang(np.array([x, y, z]), lonlat=True)
        if abs(lat[0]) > 25:
            return float(lon[0]), float(lat[0])
    raise RuntimeError("all holes cross the Galactic plane")


if __name__ == "__main__":
    main()
