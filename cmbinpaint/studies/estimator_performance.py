"""Estimators of bandpowers compared fairly: bias, response, and scatter over response against the Fisher limit.

Inputs: bandpowers of many skies by every estimator. Outputs: `EstimatorEnsemble`.

A single filled sky scatters by full-sky cosmic variance by construction, however little of it was observed: the power
in its holes is the sky model's. Its raw scatter therefore flatters it. What counts is the response dC_filled / dC_true,
how much of a change in the sky's power the estimate follows when the sky model is given and fixed, and the scatter over
it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.studies.ks import KSTest
from cmbinpaint.validation.jackknife import Estimate, jackknife, ratio_of_means

MASKED, MASTER, APODIZED = "masked / fsky", "MASTER", "MASTER, apodized"
PREDICTION, REALIZATION, MEAN = "prediction", "realization", "mean over realizations"


@dataclass(frozen=True, eq=False)
class EstimatorFigures:
    """One estimator, by band.

    Attributes
    ----------
    bias
        Mean of estimated less true power of the same sky, over the mean true power.
    response
        dC_estimated / dC_true.
    scatter
        Standard deviation over skies, over the mean signal power.
    effective
        Scatter over response: comparable between estimators, at least the Fisher limit.
    """

    bias: Estimate
    response: Estimate
    scatter: Estimate
    effective: Estimate


@dataclass(frozen=True, eq=False)
class EstimatorEnsemble:
    """Estimators on the same skies.

    Attributes
    ----------
    facts
        Of the skies: model, seed, how many...
    edges
        Of the bands of ell.
    true
        (bands,) mean true power.
    estimators
        By name.
    limit
        (bands,) relative scatter that no unbiased estimator can be below; `limit_kind` names the method.
    example
        One sky's bandpowers by name; `realizations`: (n, bands) those of its realizations.
    ks
        Tests of hole pixels by name.
    unit
        Of the maps.
    windows
        What is in the spectra.
    """

    facts: Mapping[str, Any]
    edges: FloatArray
    true: FloatArray
    estimators: Mapping[str, EstimatorFigures]
    limit: FloatArray
    limit_kind: str
    example: Mapping[str, FloatArray]
    realizations: FloatArray
    ks: Mapping[str, KSTest]
    unit: str
    windows: str

    @property
    def centers(self) -> FloatArray:
        """(bands,) geometric mean of each band's first and last ell."""
        return np.sqrt(np.maximum(self.edges[:-1], 1) * np.maximum(self.edges[1:] - 1, 1))

    @property
    def bands(self) -> list[str]:
        """The bands in words."""
        return [
            f"{low:.0f}-{high - 1:.0f}" for low, high in zip(self.edges[:-1], self.edges[1:], strict=True)
        ]

    @property
    def transfer(self) -> dict[str, FloatArray]:
        """(bands,) of the example by estimator: power over the target's."""
        return {name: self.example[name] / self.example["target"] for name in self.estimators}

    @property
    def residual(self) -> dict[str, FloatArray]:
        """(bands,) of the example by estimator: power less the target's."""
        return {name: self.example[name] - self.example["target"] for name in self.estimators}

    def rows(self) -> list[dict[str, Any]]:
        """One row for each estimator and band."""
        rows = []
        for name, found in self.estimators.items():
            for b in range(self.limit.size):
                row: dict[str, Any] = {
                    "estimator": name, "ell_min": float(self.edges[b]), "ell_max": float(self.edges[b + 1] - 1),
                    "true_power": float(self.true[b]), "fisher_limit": float(self.limit[b]),
                }  # fmt: skip
                for key in ("bias", "response", "scatter", "effective"):
                    estimate = getattr(found, key)
                    row[key], row[f"{key}_error"] = float(estimate.value[b]), float(estimate.error[b])
                row["effective_over_limit"] = row["effective"] / row["fisher_limit"]
                rows.append(row)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """What the numbers refer to, and the tests."""
        return {
            **self.facts, "limit": self.limit_kind, "unit": self.unit, "windows": self.windows,
            "example": {name: values.tolist() for name, values in self.example.items()},
            "example_transfer": {name: values.tolist() for name, values in self.transfer.items()},
            "example_residual": {name: values.tolist() for name, values in self.residual.items()},
            "ks": {name: test.to_dict() for name, test in self.ks.items()},
        }  # fmt: skip


def evaluate(
    estimated: FloatArray, true: FloatArray, signal: FloatArray, moved: FloatArray, moves: FloatArray
) -> EstimatorFigures:
    """Figures of one estimator.

    Parameters
    ----------
    estimated, true
        (skies, bands) powers of the same skies.
    signal
        (bands,) mean signal power.
    moved, moves
        (samples, bands): change of the estimate in each band, and the change of the true power there that made it.
    """
    bias = jackknife(lambda e, t: (e - t) / t, estimated, true)
    response = ratio_of_means(moved, moves)
    raw = jackknife(lambda e, e2: np.sqrt(np.maximum(e2 - e**2, 0.0)), estimated, np.square(estimated))
    unbiased = np.sqrt(len(estimated) / (len(estimated) - 1)) / signal
    scatter = Estimate(raw.value * unbiased, raw.error * unbiased)
    effective = scatter.value / response.value
    both = np.hypot(scatter.error / scatter.value, response.error / response.value)
    return EstimatorFigures(bias, response, scatter, Estimate(effective, np.abs(effective) * both))
