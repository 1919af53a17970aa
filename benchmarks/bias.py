"""Bias of the spectrum of realizations: `-2 C_ell(F, R)` over C_ell, and the direct ratios beside it.

    python benchmarks/bias.py --nside 128 --skies 20 --mask MASK.fits -o bias_128.json

F is the prediction-filled map and R what the prediction misses of the observation; the realization's spectrum is
biased by exactly the expectation of -2 C_ell(F, R).
"""

import numpy as np
from common import Setting, arguments, write

from cmbinpaint.inpainters import find_inpainter
from cmbinpaint.inpainters.filling import Filler, realization_rng
from cmbinpaint.sphere.bands import log_bands
from cmbinpaint.sphere.spectra import anafast


def cross(a: np.ndarray, b: np.ndarray, lmax: int) -> np.ndarray:
    return 0.5 * (anafast(a + b, lmax) - anafast(a, lmax) - anafast(b, lmax))


def main() -> None:
    args = arguments(__doc__ or "").parse_args()
    setting = Setting.at(args.nside, args.mask)
    plan, model = setting.plan, setting.sky_model
    lmax = int(1.5 * args.nside)
    bands = log_bands(2, lmax, 10)

    def binned(cl: np.ndarray) -> np.ndarray:
        return bands.bin(cl)

    result = {}
    for refine in (None, 0):
        filler = Filler.prepare(find_inpainter(args.model, args.nside), plan, model, refine)
        bias, ratios = [], {"realization": [], "prediction": [], "zero": []}
        for seed in range(args.skies):
            sky, _ = setting.sky(seed)
            observed = np.where(plan.valid, sky, 0.0)
            predicted = filler.predict(observed)
            left = np.where(plan.valid, 0.0, sky - predicted)
            true = binned(anafast(sky, lmax))
            bias.append([binned(-2 * cross(predicted, left, lmax)), true])
            realized = filler.realize(observed, realization_rng(1000, seed))
            for name, filled in (("realization", realized), ("prediction", predicted), ("zero", observed)):
                ratios[name].append([binned(anafast(filled, lmax)), true])
        result["as shipped" if refine is None else "refine=0"] = {
            "steps": filler.steps,
            "bias": _ratio(np.array(bias)),
            **{name: _ratio(np.array(pairs)) for name, pairs in ratios.items()},
        }
    edges = [int(e) for e in np.asarray(bands.edges).ravel()]
    write({"what": "bias", "nside": args.nside, "skies": args.skies, "edges": edges, **result}, args.output)


def _ratio(pairs: np.ndarray) -> dict[str, np.ndarray]:
    """Mean of the first over mean of the second, and its standard error, by band; pairs are (skies, 2, bands)."""
    top, bottom = pairs[:, 0], pairs[:, 1]
    ratio = top.mean(0) / bottom.mean(0)
    scatter = (top - ratio * bottom).std(0, ddof=1) / bottom.mean(0)
    return {"ratio": ratio, "error": scatter / np.sqrt(len(pairs))}


if __name__ == "__main__":
    main()
