"""Do two versions of the package fill maps alike, bit for bit? Digests of exact fills, to be compared as files.

    OMP_NUM_THREADS=1 python benchmarks/bits.py > old.txt     # in one checkout, then in the other
    diff old.txt new.txt

Bits depend on the processor and its libraries; so they are compared on one machine, with one thread, and not kept.
"""

import hashlib
import warnings
from typing import Any

import healpy as hp
import numpy as np

from cmbinpaint import Draws, inpaint_map, plan_inpainting
from cmbinpaint.errors import CmbInpaintWarning
from cmbinpaint.sims import fiducial_cl, simulate_sky


def mask_of(nside: int) -> np.ndarray:
    """A Galactic cut and twenty round holes."""
    rng, npix = np.random.default_rng(nside), 12 * nside**2
    mask = np.abs(hp.pix2ang(nside, np.arange(npix), lonlat=True)[1]) > 10
    for pixel in rng.integers(0, npix, 20):
        mask[hp.query_disc(nside, hp.pix2vec(nside, int(pixel)), 2.0 / nside)] = False
    return mask


def digest(array: Any) -> str:
    """sha256 of the values, short."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def calls(nside: int) -> dict[str, dict[str, Any]]:
    """Arguments of `inpaint_map` by a name."""
    cl, fwhm = fiducial_cl(3 * nside - 1), np.radians(180 / nside)
    sky, mask = simulate_sky(cl, nside, fwhm=fwhm, noise_std=3.0, seed=1), mask_of(nside)
    known: dict[str, Any] = {"cl": cl, "fwhm": fwhm, "noise_std": 3.0}
    both: dict[str, Any] = {"sky": sky, "mask": mask, "seed": 5}
    found = {
        "estimated": both,
        "given": both | known,
        "prediction": both | known | {"fill": "prediction", "seed": None},
    }
    if nside > 64:
        return found
    nested = hp.reorder(mask.astype(float), r2n=True) > 0.5
    excluded = np.arange(sky.size) < sky.size // 5
    return found | {
        "noise map": both | known | {"noise_std": np.linspace(2, 4, sky.size)},
        "nested, K, guard": {
            "sky": (hp.reorder(sky, r2n=True) * 1e-6).astype(np.float32), "unit": "K", "nest": True, "seed": 7,
            "plan": plan_inpainting(nested, guard=1, nest=True),
        },
        "excluded, two": both | {"mask": None, "plan": plan_inpainting(mask, exclude=excluded), "n_realizations": 2},
        "signal alone": both | known | {"draws": Draws(with_noise=False)},
        "a third of the sky": both | {"mask": np.arange(sky.size) >= sky.size // 3},
        "kriging": both | known | {"model": "kriging"},
        "kriging, refined": both | known | {"model": "kriging", "refine": 3},
    }  # fmt: skip


def main() -> None:
    """Print a line for each fill."""
    warnings.simplefilter("ignore", CmbInpaintWarning)
    for nside in (16, 32, 64, 128):
        for name, arguments in calls(nside).items():
            print(nside, name, digest(inpaint_map(**arguments)), sep="\t")


if __name__ == "__main__":
    main()
