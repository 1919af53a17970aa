"""How sharp the self-check is: skies whose sky model is right, wrong, or estimated from the map.

    python benchmarks/self_check.py --nside 64 --skies 8 -o benchmarks/results/self_check_64.json
    python benchmarks/self_check.py --nside 32 --skies 40 -o benchmarks/results/self_check_32.json

Sky i is checked with seed i. "z": deviation of the edge ring's errors from what is expected, over its stated error;
"p" and "found" (not to fit) are of all statistics together.
"""

import numpy as np
from common import NOISE_STD, Setting, arguments, theory, write

from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.validation.self_check import self_check

# What is assumed of the sky: factors on the true beam and on the true noise; None: all is estimated.
ASSUMED = {
    "right": (1.0, 1.0),
    "beam assumed 10 % too wide": (1.1, 1.0),
    "beam assumed 10 % too narrow": (0.9, 1.0),
    "noise assumed 20 % too high": (1.0, 1.2),
    "noise assumed 20 % too low": (1.0, 0.8),
    "estimated from the map": None,
}


def main() -> None:
    args = arguments(__doc__ or "").parse_args()
    setting = Setting.at(args.nside, args.mask)
    plan, fwhm = setting.plan, 3 * pixel_size(args.nside)
    found: dict[str, list[list[float]]] = {name: [] for name in ASSUMED}
    for seed in range(args.skies):
        observed, _ = setting.sky(seed)
        for name, factors in ASSUMED.items():
            known = {}
            if factors is not None:
                beam, noise = factors
                known = {"cl": theory(args.nside), "fwhm": beam * fwhm, "noise_std": noise * NOISE_STD}
            check = self_check(observed, plan=plan, unit="uK", model="kriging", seed=seed, **known)
            ratio, error = check.ratio[0], check.ratio_error[0]
            found[name].append([ratio, error, (ratio - 1) / error, check.p, not check.fits])
    rows = {}
    for name, checks in found.items():
        ratio, error, z, p, wrong = np.array(checks).T
        rows[name] = {
            "edge_ratio": ratio.mean(), "scatter": ratio.std(ddof=1), "known_to": error.mean(), "z": z.mean(),
            "p_below_0.01": int(np.sum(p < 0.01)), "p_below_0.1": int(np.sum(p < 0.1)), "found": int(wrong.sum()),
        }  # fmt: skip
    write({"what": "self-check", "nside": args.nside, "skies": args.skies, "assumed": rows}, args.output)


if __name__ == "__main__":
    main()
