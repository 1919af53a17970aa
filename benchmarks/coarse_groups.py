"""What the solver's factor costs and how many steps it takes: by neighbors in coarse groups, and by shared patterns.

    python benchmarks/coarse_groups.py --nside 512 --noise 3 30 -o coarse_groups_512.json
    python benchmarks/coarse_groups.py --nside 64 --fields QU --noise 2 --skies 4

Planck-like mask, beam of three pixels. Noise is µK a pixel of T, µK arcmin of Q and U. Processor seconds of the
solver's set-up, and the steps to its tolerance on each sky, by `COARSE` of the solver and of kriging, whose pixels have
more neighbors, with neighbor patterns in the blocks that the package has, in blocks twice as wide, and without.
"""

import time

import numpy as np
from common import Setting, arguments, write

from cmbinpaint.gaussian import conditioning_sets, neighbor_patterns
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.sims import SkyModel, fiducial_spectra
from cmbinpaint.sphere.pixels import pixel_size

TABLES = {"the solver's": conditioning_sets.COARSE[1], "kriging's": conditioning_sets.COARSE[32]}
BLOCKS = {"32 blocks": 32, "16 blocks": 16, "none": 1 << 30}


def model_of(nside: int, fields: str, noise: float) -> SkyModel:
    """The fiducial sky, of T or of Q and U."""
    spectra = fiducial_spectra(3 * nside - 1)
    if fields == "QU":
        spectra, noise = spectra[1:3], noise / np.degrees(60 * pixel_size(nside))
    else:
        spectra = spectra[0]
    return SkyModel.from_theory(spectra, nside, fwhm=3 * pixel_size(nside), noise_std=noise)


def main() -> None:
    """Every table and kind of blocks, for every noise."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--fields", choices=["T", "QU"], default="T")
    parser.add_argument("--noise", type=float, nargs="+", default=[3.0, 30.0])
    args = parser.parse_args()
    valid, rows = Setting.at(args.nside, args.mask).plan.valid, []
    for noise in args.noise:
        model = model_of(args.nside, args.fields, noise)
        skies = [np.add(*draw_observation(model, np.random.default_rng(seed))) for seed in range(args.skies)]
        for table, coarse in TABLES.items():
            for blocks, number in BLOCKS.items():
                conditioning_sets.COARSE[1], neighbor_patterns._BLOCKS = coarse, number
                start = time.process_time()
                solver = GaussianSolver(valid, model)
                seconds = time.process_time() - start
                steps = [solver.solve(np.where(valid, sky, 0.0)).steps for sky in skies]
                rows.append(
                    {"noise": noise, "coarse": table, "patterns": blocks, "setup": seconds, "steps": steps}
                )
                print(rows[-1], flush=True)
    write({"what": "coarse_groups", "nside": args.nside, "fields": args.fields, "rows": rows}, args.output)


if __name__ == "__main__":
    main()
