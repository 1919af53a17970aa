"""One map filled, and the next: processor and wall time, memory, steps.

python benchmarks/one_fill.py --nside 512 --fields TQU --noise-std 3 0.3 --fwhm-arcmin 20.61
python benchmarks/one_fill.py --nside 2048 --fields TQU --noise-std 45 29 --fwhm-arcmin 5
python benchmarks/one_fill.py --nside 2048 --noise-std 45 --fwhm-arcmin 5 --model combine128 --refine 0 --once

Behind the package's Planck-like mask, the sky model given; sky of seed 0, fill of seed 1. A network is asked for its
prediction.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
from common import write

from cmbinpaint import inpaint_map, plan_inpainting
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.sims import SkyModel, fiducial_spectra
from cmbinpaint.sphere.planck_mask import planck_like_mask


def setting(
    nside: int, fields: str, noise_std: list[float], fwhm_arcmin: float
) -> tuple[SkyModel, np.ndarray, np.ndarray]:
    """The sky model, the mask and a simulated observation of T, or of T, Q, U."""
    spectra, t = fiducial_spectra(min(6200, 3 * nside - 1)), fields == "T"
    model = SkyModel.from_theory(
        spectra[0] if t else spectra, nside, fwhm=np.radians(fwhm_arcmin / 60),
        noise_std=noise_std[0] if t else np.array([noise_std[0], noise_std[-1], noise_std[-1]]),
    )  # fmt: skip
    return model, planck_like_mask(nside), np.add(*draw_observation(model, np.random.default_rng(0)))


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser of the setting's options."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--fields", choices=["T", "TQU"], default="T")
    parser.add_argument("--noise-std", type=float, nargs="+", default=[3.0], help="µK: T, then Q and U")
    parser.add_argument("--fwhm-arcmin", type=float, default=20.61)
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    return parser


def main() -> None:
    """Fill the same map once or twice."""
    parser = parser_of(__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--refine", type=int)
    parser.add_argument("--once", action="store_true", help="without the next map")
    args = parser.parse_args()
    model, mask, sky = setting(args.nside, args.fields, args.noise_std, args.fwhm_arcmin)
    options = {"fill": "prediction"} if args.model.startswith("combine") else {"seed": 1}
    plan, found = plan_inpainting(mask), {"lmax": model.lmax, "fsky": float(mask.mean())}
    for name in ("first",) if args.once else ("first", "next"):
        wall, cpu = time.perf_counter(), time.process_time()
        filled, info = inpaint_map(
            sky, plan=plan, sky_model=model, model=args.model, refine=args.refine, unit="uK", return_info=True,
            **options,
        )  # fmt: skip
        found[name] = {
            "seconds": time.perf_counter() - wall,
            "processor": time.process_time() - cpu,
            "plan": info.seconds["plan"],
            "steps": info.steps[0],
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            "observed_same": bool(np.array_equal(filled[..., mask], sky[..., mask])),
            "all_filled": bool(np.isfinite(filled).all()),
        }
        print(name, found[name], flush=True)
    write(vars(args) | found | {"output": None}, args.output)


if __name__ == "__main__":
    main()
