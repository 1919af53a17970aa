"""How sharp the self-check is: skies whose beam is given right, or wrong; and skies of which nothing is given.

    python benchmarks/self_check.py --nside 64 --skies 8 -o benchmarks/results/self_check_64.json
    python benchmarks/self_check.py --nside 32 --skies 40 --cases right estimated

Sky i is checked with seed i. "z": deviation of the edge ring's errors from what is expected, over its stated error;
"p" and "found" (not to fit) are of all statistics together.
"""

from itertools import product

import numpy as np
from common import NOISE_STD, Setting, arguments, theory, write

from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.validation.self_check import self_check

# What is assumed of the sky: a factor on the true beam; None: nothing but the map.
ASSUMED = {
    "right": 1.0,
    "beam assumed 10 % too wide": 1.1,
    "beam assumed 10 % too narrow": 0.9,
    "estimated": None,
}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--cases", nargs="*", default=list(ASSUMED), choices=list(ASSUMED))
    args = parser.parse_args()
    plan, fwhm = Setting.at(args.nside, args.mask).plan, 3 * pixel_size(args.nside)
    known = {"cl": theory(args.nside), "noise_std": NOISE_STD}
    found: dict[str, list[list[float]]] = {name: [] for name in args.cases}
    for seed, name in product(range(args.skies), args.cases):
        # To 3 nside - 1: a sky does not end where its model does.
        observed = simulate_sky(nside=args.nside, fwhm=fwhm, pixwin=True, seed=seed, **known)
        factor = ASSUMED[name]
        given = {} if factor is None else known | {"fwhm": factor * fwhm}
        check = self_check(observed, plan=plan, unit="uK", model="kriging", seed=seed, **given)
        ratio, error = check.ratio[0], check.ratio_error[0]
        found[name].append([ratio, error, (ratio - 1) / error, check.p, not check.fits])
        print(seed, name, *found[name][-1], flush=True)
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
