"""CoMBInE's own terms on patches of filled maps: the network beside the exact answer, as a Markdown table.

    python benchmarks/combine_terms.py --holes planck
    python benchmarks/combine_terms.py --holes round --model runs/mine/mine.json

The same as `cmbinpaint analyze maps` on files: nside 128, beam 3 px, pixel window, noise 3 µK; fills with seed 1.
"""

import argparse

import numpy as np
from tables import head, row

from cmbinpaint import inpaint_map
from cmbinpaint.commands._common import HOLES, drawn_mask
from cmbinpaint.sims import simulate_sky
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.studies.clipping import GREY, PLANCK
from cmbinpaint.studies.map_patches import MapPatches

NSIDE, PATCHES, LIMIT_uK = 128, 50, 300.0
BANDS = 3  # the map's own; beyond, patch pixels are finer than the map's


def columns(models: list[str], holes: str, seed: int) -> dict[str, MapPatches]:
    """Patches of every model's realization and prediction, without refining; the model is estimated from the map."""
    valid = drawn_mask(holes, NSIDE)
    cl, fwhm = fiducial_cl(3 * NSIDE - 1), 3 * pixel_size(NSIDE)
    sky = simulate_sky(cl, NSIDE, fwhm=fwhm, noise_std=3.0, pixwin=True, seed=seed)
    found = {}
    for fill in ("realization", "prediction"):
        for model in models:
            options = {"refine": 0} if model != "default" else {}
            how = {"seed": 1} if fill == "realization" else {}
            filled = inpaint_map(sky, valid, model=model, fill=fill, unit="uK", **options, **how)
            name = f"{model}, {fill}"
            found[name] = MapPatches.cut(name, np.asarray(filled, np.float64), sky, PATCHES, seed)
    return found


def terms(patches: MapPatches) -> dict[str, str]:
    """The rows of one column."""
    gross = {(r["kind"], r["region"]): r["percent"] for r in patches.differences((-LIMIT_uK, LIMIT_uK))}
    cells = {}
    for region in ("all, observed kept", "holes"):
        name = f"gross difference, {region}: % of rms; % of mean color"
        cells[name] = f"{gross['temperature', region]:.1f}; {gross['rgb', region]:.1f}"
    colors = patches.colors().rows()
    for key in ("mean", "std"):
        cells[f"{key} of R, G, B, grey, %"] = " ".join(f"{r[f'{key}_percent']:+.1f}" for r in colors)
    spectra = [r for r in patches.spectra().rows() if r["t_max_uK"] == LIMIT_uK]
    floats, grey, planck = (
        [r for r in spectra if r["rendering"] == name][:BANDS] for name in (GREY, GREY, PLANCK)
    )
    ells = ", ".join(f"{r['ell_min']:.0f}-{r['ell_max']:.0f}" for r in floats)
    cells[f"power over the true, floats, ell {ells}"] = ", ".join(
        f"{r['transfer_temperature']:.2f} ± {r['transfer_temperature_error']:.2f}" for r in floats
    )
    for name, some in (("grey pictures", grey), ("grey of Planck's colors", planck)):
        cells[f"the same from {name}"] = " ".join(f"{r['transfer_picture']:.2f}" for r in some)
    for test in patches.ks_tests():
        what = f"KS, {test['what']}: fraction with p > 0.001; of another sky"
        cells[what] = f"{test['indistinguishable']:.2f}; {test['other_sky_indistinguishable']:.2f}"
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--holes", choices=HOLES, default="planck")
    parser.add_argument("--model", default="combine128", help="the network")
    parser.add_argument("--seed", type=int, default=0, help="of the sky and of the patches")
    args = parser.parse_args()
    found = {name: terms(p) for name, p in columns([args.model, "default"], args.holes, args.seed).items()}
    print(head(args.holes, *found))
    for term in next(iter(found.values())):
        print(row(term, *(cells[term] for cells in found.values())))


if __name__ == "__main__":
    main()
