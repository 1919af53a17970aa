"""Cross spectra of splits filled together, over the sky's, and the noise that their difference holds.

python benchmarks/splits.py --nside 64 --skies 50 -o splits_64.json

Two splits behind the package's Planck-like mask, beam 3 px, noise of equal levels and of 1 : 3, T and T, Q, U; and
filled apart, for comparison. Chi-squares are Hotelling's, with the scatter of the skies themselves.
"""

from itertools import pairwise

import numpy as np
from common import arguments, write
from scipy.stats import f as f_distribution

from cmbinpaint import inpaint_map, inpaint_splits
from cmbinpaint.sims import fiducial_spectra, simulate_sky
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask

# Edges of the bands over nside.
EDGES = np.array([0.15625, 0.3125, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0])
LEVELS = {"T": (20.0, 20.0), "TQU": (3.0, 0.3)}  # µK; Q, U of TQU second


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--estimated", action="store_true", help="estimate spectra and noise from the splits")
    parser.add_argument("--fields", nargs="+", choices=LEVELS, default=list(LEVELS))
    args = parser.parse_args()
    results = []
    for fields in args.fields:
        for ratio in (1.0, 3.0):
            found = [_sky(args, fields, ratio, seed) for seed in range(args.skies)]
            for number, name in enumerate(("together", "apart", "difference over noise")):
                rows = np.array([one[number] for one in found])  # (skies, spectra, bands)
                for spectrum, values in zip(("TT", "EE", "BB"), rows.swapaxes(0, 1), strict=False):
                    case = {"fields": fields, "levels": f"1 : {ratio:g}", "what": name, "spectrum": spectrum}
                    results.append(case | _judged(values))
                    print(results[-1], flush=True)
    write({"what": "splits", "nside": args.nside, "skies": args.skies, "edges": _edges(args.nside),
           "estimated": args.estimated, "results": results}, args.output)  # fmt: skip


def _sky(args, fields: str, ratio: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of one sky: cross spectra over the truth's, together and apart; the difference's power over the noise's."""
    nside, lmax = args.nside, 2 * args.nside
    cl, fwhm = np.array(fiducial_spectra(3 * nside - 1)), 3 * pixel_size(nside)
    cl = cl[0] if fields == "T" else cl
    sky = np.atleast_2d(simulate_sky(cl, nside, fwhm=fwhm, pixwin=True, seed=seed))
    rng = np.random.default_rng((seed, 1))
    own = np.array([LEVELS["T"][0]] if fields == "T" else [LEVELS["TQU"][0], *[LEVELS["TQU"][1]] * 2])
    noise = [own, own * ratio]
    splits = [sky + std[:, None] * rng.standard_normal(sky.shape) for std in noise]
    mask = planck_like_mask(nside)
    known = {} if args.estimated else {"cl": cl, "fwhm": fwhm}
    levels = [float(std[0]) if fields == "T" else std for std in noise]
    taken = [split[0] if fields == "T" else split for split in splits]
    together = inpaint_splits(
        taken, mask, seed=seed, unit="uK", noise_std=None if args.estimated else levels, **known
    )
    apart = [
        inpaint_map(
            one, mask, seed=2 * seed + i, unit="uK", **known, **({} if args.estimated else {"noise_std": std})
        )
        for i, (one, std) in enumerate(zip(taken, levels, strict=True))
    ]
    truth = _cross(sky, sky, lmax)
    white = np.array(
        [np.mean([std[0] ** 2 for std in noise]), *[np.mean([std[-1] ** 2 for std in noise])] * 2]
    )
    level = 2 * white[: len(truth), None] * 4 * np.pi / sky.shape[-1]
    difference = np.atleast_2d(together[0]) - np.atleast_2d(together[1])
    return (
        _cross(*map(np.atleast_2d, together), lmax) / truth,
        _cross(*map(np.atleast_2d, apart), lmax) / truth,
        _cross(difference, difference, lmax) / level,
    )


def _cross(first: np.ndarray, second: np.ndarray, lmax: int) -> np.ndarray:
    """(1 or 3, n) band powers TT, EE, BB of the cross spectrum."""
    nside = int(np.sqrt(first.shape[-1] / 12))
    harmonics = Harmonics(nside, lmax)
    a, b = (harmonics.analysis(sky, iterations=3) for sky in (first, second))
    cl = np.array([alm_to_cl(x, lmax, y) for x, y in zip(a, b, strict=True)])
    weights = 2 * np.arange(lmax + 1) + 1
    return np.array(
        [[np.average(row[i:j], weights=weights[i:j]) for i, j in pairwise(_edges(nside))] for row in cl]
    )


def _edges(nside: int) -> list[int]:
    return [2, *np.rint(EDGES * nside).astype(int).tolist()]


def _judged(values: np.ndarray) -> dict:
    """Mean over skies and its error by band; probability of so large a deviation from 1, and the worst band's."""
    n, k = values.shape
    mean, cov = values.mean(axis=0), np.atleast_2d(np.cov(values, rowvar=False)) / n
    t2 = (mean - 1) @ np.linalg.solve(cov, mean - 1)
    p = float(f_distribution.sf(t2 * (n - k) / (k * (n - 1)), k, n - k)) if n > k else float("nan")
    error = np.sqrt(np.diag(cov))
    return {
        "mean": mean.tolist(),
        "error": error.tolist(),
        "p": p,
        "worst_sigma": float(np.max(np.abs(mean - 1) / error)),
    }


if __name__ == "__main__":
    main()
