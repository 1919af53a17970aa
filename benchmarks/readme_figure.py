"""The sky before and after, and its spectrum: the figure of README.md.

    python benchmarks/readme_figure.py -o docs/figures/before_after.png

The setting of the tables (the package's Planck-like mask, nside 128, beam 3 px, noise 3 µK), sky seed 0, realization
seed 1.
`inpaint_map` is given map and mask alone.
"""

import argparse
from pathlib import Path

import numpy as np
from common import Setting, save_small
from matplotlib.figure import Figure

from cmbinpaint import inpaint_map
from cmbinpaint.plots import draw_dl, draw_residual, draw_sky, style
from cmbinpaint.spectra.bandpowers import log_bands
from cmbinpaint.spectra.full_sky import anafast, dl_from_cl

NSIDE = 128
LIMIT = 200.0  # µK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="default")
    args = parser.parse_args()
    setting = Setting.at(NSIDE, None)
    sky, _ = setting.sky(0)
    valid = setting.plan.valid
    filled = inpaint_map(sky, plan=setting.plan, model=args.model, seed=1)
    bands = log_bands(2, 2 * NSIDE, 24)
    maps = {"truth": sky, "filled": filled, "holes set to 0": np.where(valid, sky, 0.0)}
    spectra = {name: bands.bin(dl_from_cl(anafast(m, 2 * NSIDE))) for name, m in maps.items()}
    with style():
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        # Six rows: the maps share them in halves, the spectrum and its residual as four to two.
        left, right = ("before",) * 3 + ("after",) * 3, ("dl",) * 4 + ("residual",) * 2
        panels = figure.subplot_mosaic(
            [list(row) for row in zip(left, right, strict=True)], width_ratios=(1, 1.4)
        )
        before = f"observed: {100 * valid.mean():.0f} % of the sky"
        for name, shown, title in (
            ("before", np.where(valid, sky, np.nan), before),
            ("after", filled, "filled"),
        ):
            draw_sky(shown, limit=LIMIT, title=title, colorbar=False, pixels=480, ax=panels[name])
        band = np.sqrt(2 / bands.n_modes)
        draw_dl(bands.centers, spectra, band=band, ax=panels["dl"])
        panels["dl"].set_xlabel("")
        panels["dl"].legend(loc="upper right", ncols=2)
        panels["dl"].tick_params(labelbottom=False)
        draw_residual(bands.centers, spectra, reference="truth", band=band, ax=panels["residual"])
        save_small(figure, args.output)
    for low, high, *values in zip(bands.edges[:-1], bands.edges[1:] - 1, *spectra.values(), strict=True):
        print(f"ell {low}-{high}: truth {values[0]:.1f}, filled {values[1]:.1f}, zeros {values[2]:.1f} µK²")


if __name__ == "__main__":
    main()
