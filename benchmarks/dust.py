"""Round holes in a real map of dust, filled as it is and by its logarithm.

    python benchmarks/dust.py HFI_SkyMap_857_128_R2.00_NESTED.fits -o benchmarks/results/dust_128.json

The map is Planck's at 857 GHz, nside 128 (ESA/Planck; not in this repository). Holes of 1.5 to 8 px of radius at random
places above 15 degrees of Galactic latitude; errors over the standard deviation of the observed pixels within 12 px of
a hole's center, rms by depth. Nothing is told of the map but its pixels.
"""

import argparse
from pathlib import Path

import healpy as hp
import numpy as np
from common import write

from cmbinpaint import inpaint_map, plan_inpainting, read_map
from cmbinpaint.sphere.pixels import pixel_size

DEPTHS = (1.3, 2.3, 4.3, 9.0)
MODELS = ("gaussian", "kriging", "diffusive")
SURROUNDINGS = 12.0  # px


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("map", type=Path)
    parser.add_argument("--holes", type=int, default=320)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    sky = read_map(args.map)[0].astype(float)
    nside = hp.npix2nside(sky.size)
    mask, scale = _holes(sky, nside, args.holes, np.random.default_rng(args.seed))
    plan = plan_inpainting(mask)
    bin_of = np.digitize(plan.depth[~mask], DEPTHS, right=True)
    rms = {}
    for model in MODELS:
        for name, there, back in (("map", np.asarray, np.asarray), ("logarithm", np.log, np.exp)):
            filled = back(inpaint_map(there(sky), plan=plan, model=model, fill="prediction"))
            error = np.square((filled - sky)[~mask] / scale[~mask])
            rms[f"{model}, {name}"] = [float(np.sqrt(error[bin_of == b].mean())) for b in range(len(DEPTHS))]
            print(f"{model:>10}, {name:>9}: " + " ".join(f"{value:.2f}" for value in rms[f"{model}, {name}"]))
    write({"what": "dust", "nside": nside, "holes": args.holes, "depths": DEPTHS, "rms": rms}, args.output)


def _holes(sky: np.ndarray, nside: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A mask of round holes, and in each hole the standard deviation of what surrounds it."""
    step, vectors = pixel_size(nside), np.array(hp.pix2vec(nside, np.arange(sky.size)))
    mask, scale = np.ones(sky.size, bool), np.ones(sky.size)
    centers: list[np.ndarray] = []
    while len(centers) < n:
        z = rng.uniform(np.sin(np.radians(15)), 1) * rng.choice([-1, 1])
        lon = rng.uniform(0, 2 * np.pi)
        centers.append(np.array([np.cos(lon) * np.sqrt(1 - z**2), np.sin(lon) * np.sqrt(1 - z**2), z]))
    radii = rng.uniform(1.5, 8, n) * step
    distances = [np.arccos(np.clip(center @ vectors, -1, 1)) for center in centers]
    for distance, radius in zip(distances, radii, strict=True):
        mask[distance < radius] = False
    for distance, radius in zip(distances, radii, strict=True):
        scale[distance < radius] = sky[mask & (distance < SURROUNDINGS * step)].std()
    return mask, scale


if __name__ == "__main__":
    main()
