"""Whether error bars are right: coverage, marginal and conditional on the prediction.

Inputs: errors and predictions of many skies. Outputs: fractions with errors.

A realization scatters around the prediction as the model's errors do on simulated skies; so the width that it
claims for a quantity on one sky is the rms error of that quantity on the *other* skies. With normal errors the
ratio is then Student's t with n - 1 degrees of freedom, exactly, and its quantiles are the limits: coverage is
not lowered by how few skies there are.

Marginal coverage is right for *any* linear predictor, however bad, because sky and simulations err alike. The
test is coverage where the prediction is extreme: there a predictor that is not orthogonal to its error fails.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from cmbinpaint._types import FloatArray, IntArray
from cmbinpaint.validation.jackknife import Estimate, ratio_of_means

LEVELS = (0.68, 0.95)
QUINTILES = 5


class Coverage(NamedTuple):
    """Fractions of true values within the central intervals of `LEVELS`, and mean errors, by group.

    Attributes
    ----------
    marginal
        (levels, groups).
    conditional
        (levels, groups, QUINTILES), by quintile of the prediction within the group, lowest first.
    pull
        (groups, QUINTILES): mean of (true value - prediction) over the claimed width; 0 if calibrated.
    """

    marginal: Estimate
    conditional: Estimate
    pull: Estimate


def covered(errors: FloatArray, predictions: FloatArray, groups: IntArray, n_groups: int) -> Coverage:
    """Measure coverage.

    Parameters
    ----------
    errors
        (skies, k) float: prediction less true value of each quantity, two skies at least.
    predictions
        (skies, k) float; quintiles are taken over all skies and quantities of a group.
    groups
        (k,) the group of each quantity, 0 to n_groups - 1; negative: in none.
    """
    skies = len(errors)
    squares = np.square(np.asarray(errors, dtype=np.float64))
    width = np.sqrt((squares.sum(axis=0) - squares) / max(skies - 1, 1))
    pull = -np.divide(errors, width, out=np.zeros(width.shape), where=width > 0)
    limits = student.ppf(0.5 + np.array(LEVELS) / 2, max(skies - 1, 1))
    inside = np.abs(pull) < limits[:, None, None]
    shape = (skies, n_groups, QUINTILES)
    hits, count, total = np.zeros((skies, len(LEVELS), *shape[1:])), np.zeros(shape), np.zeros(shape)
    for group in range(n_groups):
        here = groups == group
        if not here.any():
            continue
        chosen = predictions[:, here]
        edges = np.quantile(chosen, np.arange(1, QUINTILES) / QUINTILES)
        quintile = np.searchsorted(edges, chosen)
        for q in range(QUINTILES):
            within = quintile == q
            count[:, group, q] = within.sum(axis=1)
            total[:, group, q] = np.where(within, pull[:, here], 0.0).sum(axis=1)
            hits[:, :, group, q] = (inside[:, :, here] & within).sum(axis=2).T
    counts = np.broadcast_to(count[:, None], hits.shape)
    return Coverage(
        ratio_of_means(hits.sum(axis=-1), counts.sum(axis=-1)),
        ratio_of_means(hits, counts),
        ratio_of_means(total, count),
    )
