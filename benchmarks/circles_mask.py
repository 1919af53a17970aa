"""A mask of isolated round holes, to grade models at an nside whose whole mask would take hours.

    python benchmarks/circles_mask.py --nside 2048 -o circles_2048.fits
    cmbinpaint validate --nside 2048 --mask circles_2048.fits --fwhm-arcmin 5 --noise-std 10 --skies 2 -o OUT

Holes of 5, 10, ..., 35 pixels' radius lie at the centers of coarse pixels, 256 pixels apart, turn by turn.
"""

import argparse
from pathlib import Path

import healpy as hp
import numpy as np

from cmbinpaint import write_map

RADII = (5, 10, 15, 20, 25, 30, 35)
APART = 256  # pixels between centers


def circles(nside: int, radii: tuple[int, ...] = RADII, every: int = 4) -> np.ndarray:
    """(npix,) bool RING, True = observed: a hole in every fourth coarse pixel."""
    valid = np.ones(12 * nside**2, dtype=bool)
    coarse = max(1, nside // APART)
    for number, center in enumerate(range(0, 12 * coarse**2, every)):
        radius = radii[number % len(radii)] * hp.nside2resol(nside)
        valid[hp.query_disc(nside, hp.pix2vec(coarse, center), radius)] = False
    return valid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=2048)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    write_map(args.output, circles(args.nside).astype(np.float32), column="MASK", overwrite=True)


if __name__ == "__main__":
    main()
