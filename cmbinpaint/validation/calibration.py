"""How well a model fills holes, and how reliable its realizations are: figures from records of skies.

Inputs: stacked records of an `Ensemble`. Outputs: a `ModelCalibration` for each model.

**The bias of a realization's spectrum.** Let o be the whole observation, F the map filled with a linear
predictor, R = o - F (zero outside the holes). A realization is F + R', with R' the predictor's error on an
independent sky (Hoffman & Ribak 1991, ApJ 380, L5). R' and F are independent and of mean zero, so
E C(F + R') = E C(F) + E C(R), while C(o) = C(F) + 2 C(F, R) + C(R). Hence the bias is

    E[C(F + R') - C(o)] = -2 E[C(F, R)],

exactly, at every ell. Now let M be the map filled with the exact mean, and F = M + D, D zero outside the holes.
Then R = R_M - D with R_M = o - M, which is orthogonal to every function of the data, F among them:
E[C(F, R_M)] = 0. What is left,

    bias = +2 E[C(F, D)] = 2 E[C(F, F - M)],

has the same expectation without the scatter of C(F, R_M), which is most of that of C(F, R): what no prediction
can know. With a broad prior on monopole and dipole R_M is orthogonal to what the data hold of the rest, and
E[F R_M^T] = -G v^T, with v the four maps of monopole and dipole in the holes, and G the sky's monopole and dipole
if the predictor preserves these (`inpaint_map` takes them out and puts them back): then C(F, R_M) keeps an
expectation at ell = 0 and 1 alone, and the identity is exact for ell >= 2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as fisher

from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.validation.coverage import Coverage, covered
from cmbinpaint.validation.depths import HOLE_WIDTHS
from cmbinpaint.validation.jackknife import (
    Estimate,
    jackknife,
    mean,
    ratio_of_means,
    rms_ratio,
    stack_estimates,
)
from cmbinpaint.validation.sky_statistics import LOW_ELL, SkyStatistics, low_degrees

Stack = Mapping[str, AnyArray]
LOWEST = 2  # monopole and dipole are not evaluated
# First multipoles of the groups in which coverage of a_lm is counted; the last ends at `LOW_ELL`.
ALM_GROUPS = (2, 5)


@dataclass(frozen=True, eq=False)
class Bias:
    """Relative bias of the spectrum by band; 0 is perfect.

    Attributes
    ----------
    reduced
        Of realizations, `2 C(F, F - M) / C`: the estimate to decide by.
    raw
        Of realizations, `-2 C(F, R) / C`.
    realization, prediction
        Filled over true, less 1, of one realization and of the prediction, which lacks power.
    """

    reduced: Estimate
    raw: Estimate
    realization: Estimate
    prediction: Estimate


@dataclass(frozen=True, eq=False)
class ChiSquare:
    """Paired differences of filled and true bandpowers, relative, adjacent bands joined until skies suffice.

    Attributes
    ----------
    bands
        How many joined bands.
    mean_p
        Probability of a mean difference as large, if realizations were unbiased (Hotelling's T² with the
        differences' own covariance, leaving the mean out); NaN with too few skies.
    scatter
        Mean over skies of a difference's chi-square against the covariance of the exact model's differences on
        the *other* skies, over its expectation: 1 if realizations scatter about the true sky as exact ones do.
        NaN if the exact model was not among the models.
    """

    bands: int
    mean_p: float
    scatter: Estimate


@dataclass(frozen=True, eq=False)
class ModelCalibration:
    """All figures of one model; depths, bands and multipoles as in `Validation`.

    Of several Stokes parameters the bins of one stand after those of the other; so do bands of spectra, multipoles of
    modes. Biases are then relative to √(C_XX C_YY) of the signal.

    Attributes
    ----------
    excess
        (depths,) rms error over the exact mean's; 1 is perfect.
    distance
        (depths,) rms distance of the prediction from the exact mean, in posterior standard deviations.
    first_error
        (depths,) rms error of the prediction of sky 0, the map's unit: quickly reproduced.
    sharpness
        (depths,) width of the model's realizations of the signal over the exact posterior's, geometric mean
        over pixels, from the errors on simulated skies.
    excess_by_width, distance_by_width, sharpness_by_width
        (widths, depths) the same for each class of holes in `depths.HOLE_WIDTHS`.
    scatter
        (depths,) rms of realization - prediction over that of observation - exact mean, of the realizations
        that were drawn.
    bias
        Of the spectrum.
    pixels
        Coverage of single pixels by depth.
    multipoles
        Coverage of full-sky a_lm in `ALM_GROUPS`, quintiles those of the filled map's a_lm.
    alm_error
        (ell,) rms error of the a_lm of the prediction-filled map over the true rms.
    alm_error_by_sky
        (skies, ell) the same sky by sky.
    jumps, prediction_jumps
        (widths,) mean square jump across hole edges over the true one.
    one_point, prediction_one_point
        (1 + depths,) Kolmogorov-Smirnov distance of hole pixels over that of true skies.
    one_point_p
        (1 + depths,) mean fraction of the other true skies with a distance at least as large; 1/2 if alike.
    chi_square
        Of paired differences of bandpowers; of several spectra by their names.
    steps
        Of conjugate gradients for a prediction, mean over skies.
    plan_seconds, map_seconds
        Largest time that preparing took, mean time of a prediction (a realization costs one more).
    """

    excess: Estimate
    distance: Estimate
    first_error: FloatArray
    sharpness: Estimate
    excess_by_width: Estimate
    distance_by_width: Estimate
    sharpness_by_width: Estimate
    scatter: Estimate
    bias: Bias
    pixels: Coverage
    multipoles: Coverage
    alm_error: Estimate
    alm_error_by_sky: FloatArray
    jumps: Estimate
    prediction_jumps: Estimate
    one_point: Estimate
    prediction_one_point: Estimate
    one_point_p: Estimate
    chi_square: ChiSquare | dict[str, ChiSquare]
    steps: float
    plan_seconds: float
    map_seconds: float


def calibrate(
    model: Stack, exact: Stack, statistics: SkyStatistics, reference: Stack | None = None
) -> ModelCalibration:
    """Make all figures of a model.

    Parameters
    ----------
    model, exact
        Stacked records of the model and of the exact mean, of the same skies.
    statistics
        Of the setup.
    reference
        Stacked records of the exact model, with whose realizations those of this model are compared; None: there
        are none.

    Raises
    ------
    CmbInpaintError
        With fewer than two skies.
    """
    skies = len(exact["error"])
    if skies < 2:
        raise CmbInpaintError(f"got {skies} sky; errors need two skies at least, better 20")
    true = exact["true_power"]
    scale = statistics.setup.scale_of(true)
    alm_error, by_sky = low_multipole_errors(model["residual_alm"], exact["true_alm"])
    null = exact["one_point"]
    by_depth = [statistics.kept_bins == i for i in range(statistics.depths.n)]
    by_width = [[(statistics.kept_widths == w) & bin_ for bin_ in by_depth] for w in range(len(HOLE_WIDTHS))]
    return ModelCalibration(
        excess=rms_ratio(model["error"], exact["error"]),
        distance=rms_ratio(model["distance"], exact["error"]),
        first_error=np.sqrt(model["error"][0]),
        sharpness=_sharpness(model["error_kept"], exact["error_kept"], by_depth),
        excess_by_width=rms_ratio(model["error_by_width"], exact["error_by_width"]),
        distance_by_width=rms_ratio(model["distance_by_width"], exact["error_by_width"]),
        sharpness_by_width=stack_estimates(
            [_sharpness(model["error_kept"], exact["error_kept"], bins) for bins in by_width]
        ),
        scatter=rms_ratio(model["scatter"], exact["residual"]),
        bias=_bias(model, true, scale),
        pixels=covered(
            model["error_kept"], model["prediction_kept"], statistics.kept_bins, statistics.depths.n
        ),
        multipoles=_multipole_coverage(model, exact["true_alm"], statistics.setup.fields.n),
        alm_error=alm_error,
        alm_error_by_sky=by_sky,
        jumps=ratio_of_means(model["jumps"], exact["jumps"]),
        prediction_jumps=ratio_of_means(model["prediction_jumps"], exact["jumps"]),
        one_point=ratio_of_means(model["one_point"], null),
        prediction_one_point=ratio_of_means(model["prediction_one_point"], null),
        one_point_p=mean(_fraction_above(model["one_point"], null)),
        chi_square=_chi_squares(model, true, scale, statistics, reference),
        steps=float(model["steps"].mean()),
        plan_seconds=float(model["seconds"][:, 0].max()),
        map_seconds=float(model["seconds"][:, 1].mean()),
    )


def _bias(model: Stack, true: FloatArray, scale: FloatArray) -> Bias:
    def relative(power: FloatArray) -> Estimate:
        return ratio_of_means(power - true, scale)

    return Bias(
        reduced=ratio_of_means(2 * model["distance_cross"], scale),
        raw=ratio_of_means(-2 * model["residual_cross"], scale),
        realization=relative(model["realization_power"]),
        prediction=relative(model["prediction_power"]),
    )


def _sharpness(errors: FloatArray, exact: FloatArray, bins: Sequence[BoolArray]) -> Estimate:
    def widths(of_model: FloatArray, of_exact: FloatArray) -> FloatArray:
        ratio = 0.5 * np.log(of_model / of_exact)
        means = [
            np.exp(ratio[..., b].mean(axis=-1)) if b.any() else np.full(ratio.shape[:-1], np.nan)
            for b in bins
        ]
        return np.stack(means, axis=-1)

    return jackknife(widths, np.square(errors, dtype=np.float64), np.square(exact, dtype=np.float64))


def low_multipole_errors(residual_alm: FloatArray, true_alm: FloatArray) -> tuple[Estimate, FloatArray]:
    """Rms errors of a_lm over the true rms, (ell,) from 2 to `LOW_ELL` of each mode: of all skies, and (skies, ell)."""
    residual, true = _by_ell(np.square(residual_alm)), _by_ell(np.square(true_alm))
    return rms_ratio(residual, true), np.sqrt(residual / true.mean(axis=0))


def _by_ell(values: FloatArray) -> FloatArray:
    """(skies, ell) means over m of ((LOW_ELL + 1)²,) coefficients of each mode, from `LOWEST` on."""
    degrees = low_degrees()
    rows = values.reshape(len(values), -1, degrees.size)
    means = [rows[..., degrees == ell].mean(axis=-1) for ell in range(LOWEST, LOW_ELL + 1)]
    return np.stack(means, axis=-1).reshape(len(values), -1)


def _multipole_coverage(model: Stack, true_alm: FloatArray, modes: int) -> Coverage:
    degrees, n = low_degrees(), len(ALM_GROUPS)
    rms = np.sqrt(_by_ell(np.square(true_alm)).mean(axis=0)).reshape(modes, -1)
    scale = np.concatenate([np.concatenate([np.ones(LOWEST), row])[degrees] for row in rms])
    groups = np.searchsorted(ALM_GROUPS, degrees, side="right") - 1
    groups = np.concatenate([np.where(groups < 0, -1, groups + mode * n) for mode in range(modes)])
    # The true coefficient is the filled map's plus the residual: the error has the other sign.
    return covered(-model["residual_alm"] / scale, model["filled_alm"] / scale, groups, n * modes)


def _fraction_above(distances: FloatArray, null: FloatArray) -> FloatArray:
    """(skies, ...) the fraction of the other skies' null distances that are at least as large."""
    n = len(null)
    above = null[None] >= distances[:, None]
    itself = np.einsum("ii...->i...", above)
    return (above.sum(axis=1) - itself) / (n - 1.0)


def _chi_squares(
    model: Stack, true: FloatArray, scale: FloatArray, statistics: SkyStatistics, reference: Stack | None
) -> ChiSquare | dict[str, ChiSquare]:
    """Of T alone one, else of each spectrum by its name."""

    def differences(stack: Stack, band: slice) -> FloatArray:
        return ((stack["realization_power"] - true) / scale.mean(axis=0))[:, band]

    n, names, found = statistics.bands.n, statistics.setup.fields.spectra, {}
    for i, name in enumerate(names):
        band = slice(i * n, (i + 1) * n)
        exact = None if reference is None else differences(reference, band)
        found[name] = _chi_square(differences(model, band), exact, statistics)
    return found if len(names) > 1 else found[names[0]]


def _chi_square(found: FloatArray, reference: FloatArray | None, statistics: SkyStatistics) -> ChiSquare:
    """Of differences (skies, bands) of one spectrum."""
    skies = len(found)
    n_bands = min(statistics.bands.n, skies // 3)
    nothing = Estimate(np.array(np.nan), np.array(np.nan))
    if n_bands < 1 or skies < n_bands + 5:
        return ChiSquare(0, float("nan"), nothing)

    own = _joined(found, statistics.bands.n_modes, n_bands)
    covariance = np.atleast_2d(np.cov(own, rowvar=False))
    center = own.mean(axis=0)
    t_square = skies * center @ np.linalg.solve(covariance, center)
    statistic = t_square * (skies - n_bands) / (n_bands * (skies - 1))
    scatter = nothing
    if reference is not None:
        scatter = mean(_against_others(own, _joined(reference, statistics.bands.n_modes, n_bands)))
    return ChiSquare(n_bands, float(fisher.sf(statistic, n_bands, skies - n_bands)), scatter)


def _against_others(own: FloatArray, exact: FloatArray) -> FloatArray:
    """(skies,) chi-square of each difference against the covariance of the exact ones of the other skies.

    Over its expectation: with nu other skies of known mean, chi-square (nu - p + 1) / (nu p) is F-distributed.
    """
    skies, p = own.shape
    nu = skies - 1
    products = exact[:, :, None] * exact[:, None, :]
    others = (products.sum(axis=0) - products) / nu
    chi = np.einsum("sp,sp->s", own, np.linalg.solve(others, own[..., None])[..., 0])
    return chi * (nu - p - 1) / (nu * p)


def _joined(differences: FloatArray, modes: FloatArray, n: int) -> FloatArray:
    """(skies, n) of (skies, bands): adjacent bands averaged by their modes."""
    parts = np.array_split(np.arange(modes.size), n)
    return np.stack([np.average(differences[:, part], axis=1, weights=modes[part]) for part in parts], axis=1)
