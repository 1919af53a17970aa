"""How far from converged solves optimal bandpowers are, in units of their errors, by the tolerance of the solves.

    python benchmarks/optimal_tolerance.py --nside 64 -o optimal_tolerance_64.json
    python benchmarks/optimal_tolerance.py --nside 64 --fields QU --noise 2 -o optimal_tolerance_qu_64.json

Of quadratic estimates of skies (rms over skies), and of what the probed response says of the model's sky (signal and
noise apart), of the worst band; and steps. The tolerance is so many times that of `optimal_spectrum`.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from common import write

from cmbinpaint.gaussian.optimal_bandpowers import POWER_TOLERANCE, PROBE_SLACK, TOLERANCE, InverseCovariance
from cmbinpaint.pipeline.bandpower_estimator import Estimator, without_tail
from cmbinpaint.sims import SkyModel, fiducial_spectra, simulate_sky
from cmbinpaint.spectra.bandpowers import log_bands
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask
from cmbinpaint.sphere.windows import gaussian_beam, pixel_window

FACTORS = (0.3, 1.0, 3.0, 10.0)
CONVERGED = 1e-3


def main() -> None:
    """Compare every tolerance with a far smaller one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--skies", type=int, default=6)
    parser.add_argument("--fields", choices=["T", "QU"], default="T")
    parser.add_argument(
        "--noise", type=float, help="of T µK in a pixel, default 3; of Q, U µK arcmin, default 2"
    )
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    nside, polarized, fwhm = args.nside, args.fields == "QU", 3 * pixel_size(args.nside)
    valid, bands = planck_like_mask(nside), log_bands(2, 3 * nside // 2, 12, min_width=2)
    spectra = fiducial_spectra(3 * nside - 1)
    cl = spectra[1:3] if polarized else spectra[0]
    noise = args.noise or (2.0 if polarized else 3.0)
    if polarized:
        valid, noise = np.stack([valid, valid]), noise / (np.degrees(pixel_size(nside)) * 60)
    model = SkyModel.from_theory(cl, nside, fwhm=fwhm, noise_std=noise, lmax=3 * nside - 1)
    model = without_tail(model, valid, bands.lmax)
    beam = gaussian_beam(fwhm, model.lmax) * pixel_window(nside, model.lmax, spin=2 if polarized else 0)
    window = np.tile(np.square(beam), (len(model.fields.spectra), 1))
    work = Estimator(valid, model, bands, window, rounds=1)._work
    skies = [
        simulate_sky(cl, nside, fwhm=fwhm, noise_std=noise, pixwin=True, seed=s) for s in range(args.skies)
    ]
    wanted, sigma, _ = estimates(work, CONVERGED, skies)
    found: dict[str, Any] = {"nside": nside, "fields": args.fields, "noise": noise, "lmax": model.lmax}
    for factor in FACTORS:
        got, _, steps = estimates(work, factor, skies)
        errors = {name: (got[name] - wanted[name]) / sigma for name in got}
        found[f"{factor:g}"] = {
            "skies": float(np.sqrt(np.mean(np.square(errors["skies"]), axis=0)).max()),
            "response": float(np.abs(errors["response"]).max()),
            "noise": float(np.abs(errors["noise"]).max()),
            "steps": steps,
        }
    write(found, args.output)


def estimates(
    work: Any, factor: float, skies: list[np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray, Any]:
    """Quadratic estimates of skies, what the response says of them, and their errors: of the fields' own spectra."""
    inverse = InverseCovariance(
        work.valid, work.sky_model, tolerance=factor * TOLERANCE, power_tolerance=factor * POWER_TOLERANCE
    )
    steps: list[int] = []
    solve = inverse.solver.solve

    def counted(*args: Any, **options: Any) -> Any:
        solution = solve(*args, **options)
        steps.append(solution.steps)
        return solution

    inverse.solver.solve = counted  # type: ignore[method-assign]
    k = work.sky_model.fields.n
    of_skies = np.array([work.quadratic(inverse, sky)[:k] for sky in skies])
    of_data = np.mean(steps)
    steps.clear()
    pieces = [work.piece(inverse, "response", band) for band in range(work.shapes.shape[1])]
    kernel = np.stack([piece["response"] for piece in pieces], axis=1)
    signal = work.sky_model.signal.values.copy()
    signal[..., :2] = 0.0
    sky = np.divide(signal[np.arange(k), np.arange(k)], work.windows[:k], where=work.windows[:k] > 0,
                    out=np.zeros((k, signal.shape[-1])))  # fmt: skip
    shapes = np.divide(
        work.shapes, work.windows[:, None], where=work.windows[:, None] > 0, out=0 * work.shapes
    )
    fisher = np.stack([np.einsum("bl,bl->b", kernel[i, :, i], shapes[i]) for i in range(k)])
    means = {
        "skies": of_skies,
        "response": np.einsum("sbtl,tl->sb", kernel[:k, :, :k], sky),
        "noise": np.stack([piece["noise"] for piece in pieces], axis=1)[:k],
    }
    return (
        means,
        np.sqrt(fisher),
        {"of a sky": float(of_data), f"of a probe ({PROBE_SLACK:g} times)": float(np.mean(steps))},
    )


if __name__ == "__main__":
    main()
