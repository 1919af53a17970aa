"""Estimators of bandpowers on flat patches, for networks that fill patches.

Inputs: a trained network, patches of known truth, a mask. Outputs: `EstimatorEnsemble`.

As on the sphere, but that nothing is decoupled: spectra are those behind a Hann window, of the whole patch (truth and
fills) or of its observed pixels over the window's mean square. A network of the seed's family is not linear, so that
its response is a difference: the band is made stronger and weaker in the truth, and the patch filled again.
"""

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import DataSetError
from cmbinpaint.plane.power import flat_cl, mode_ells
from cmbinpaint.studies.estimator_performance import EstimatorEnsemble, grade
from cmbinpaint.studies.ks import ks_test
from cmbinpaint.studies.patch_study import Progress, check_masks
from cmbinpaint.studies.sky_estimators import MASKED, MEAN, PREDICTION, REALIZATION
from cmbinpaint.training.data.targets import Targets
from cmbinpaint.training.run.checkpoint_models import PatchFiller, State, Trained

_BANDS = 6
_STEP = 0.2  # of a band's amplitude, either way
_FEWEST = 20


def study_patch_estimators(
    trained: Trained, state: State, targets: Targets, others: Targets, valid: BoolArray, *, realizations: int = 4,
    samples: int = 10, progress: Progress | None = None,
) -> EstimatorEnsemble:  # fmt: skip
    """Grade estimators on patches of one class.

    Parameters
    ----------
    trained, state
        The network, and when.
    targets
        Twenty patches or more, of one class.
    others
        Patches of that class from other skies, which realizations take their fluctuations from.
    valid
        (side, side), True = observed.
    realizations
        Of each patch.
    samples
        Patches whose response is measured.
    progress
        Called with what is done and how much there is.

    Raises
    ------
    DataSetError
        If there are too few patches, or they are of several classes.
    MaskError
        If the mask hides all or nothing.
    """
    check_masks({"of the spectra": valid})
    if len(targets) < _FEWEST or len(others) < realizations:
        raise DataSetError(
            f"{len(targets)} patches came, and {len(others)} to draw fluctuations from; expected {_FEWEST} and "
            f"{realizations} or more: take a larger data set"
        )
    if len({*targets.labels.tolist(), *others.labels.tolist()}) > 1:
        raise DataSetError("patches of several classes came; spectra are graded within one")
    run = _Run(trained.filler(state, targets), targets, others, valid, realizations)
    bands = len(run.edges) - 1
    done, total = 0, 1 + 2 * bands

    def tell() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    true, found, hole, drawn = run.estimates(targets.data.astype(np.float64))
    tell()
    few = targets[: max(2, min(samples, len(targets)))]
    moved = {name: np.zeros((len(few), bands)) for name in found}
    moves = np.zeros((len(few), bands))
    for b in range(bands):
        change = run.band_of(few.data.astype(np.float64), b)
        for sign in (1, -1):
            power, values, _, _ = run.estimates(few.data + sign * _STEP * change)
            moves[:, b] += sign * power[:, b]
            for name in moved:
                moved[name][:, b] += sign * values[name][:, b]
            tell()
    seen = np.sum(np.where(valid, run.window, 0.0) ** 2) / np.sum(run.window**2)
    return EstimatorEnsemble(
        facts={
            "model": trained.name, "step": state.step, "n_s": targets.ns[int(targets.labels[0])],
            "patches": len(targets), "observed_share": float(valid.mean()), "realizations": realizations,
            "response_samples": len(few),
        },
        edges=run.edges,
        true=true.mean(0),
        estimators={name: grade(found[name], true, true.mean(0), moved[name], moves) for name in found},
        limit=true.std(0, ddof=1) / true.mean(0) / np.sqrt(seen),
        limit_kind="whole patches' own scatter over the root of the observed share",
        example={"target": true[0], **{name: values[0] for name, values in found.items()}},
        realizations=drawn,
        ks={name: ks_test(hole[name], hole["target"]) for name in (PREDICTION, REALIZATION)},
        unit="µK",
        windows="as in the patches: beam, pixel window and noise in; Hann window",
    )  # fmt: skip


class _Run:
    """A network prepared for one mask and one class."""

    def __init__(
        self, filler: PatchFiller, targets: Targets, others: Targets, valid: BoolArray, realizations: int
    ) -> None:
        self.filler, self.targets, self.valid, self.realizations = filler, targets, valid, realizations
        data = others.data.astype(np.float64)
        self.missed = np.where(valid, 0.0, data - filler.fill(data, valid).field_uK)

    @property
    def window(self) -> FloatArray:
        """(side, side) Hann."""
        hann = np.sin(np.pi * (np.arange(self.targets.side) + 0.5) / self.targets.side) ** 2
        return hann[:, None] * hann

    @property
    def edges(self) -> FloatArray:
        """Bands of equal width up to Nyquist; the two lowest modes, which the window mixes, left out."""
        step = self.targets.step_rad
        return np.linspace(2.5 * 2 * np.pi / (self.targets.side * step), np.pi / step, _BANDS + 1)

    def power(self, fields: FloatArray, weights: FloatArray | None = None) -> FloatArray:
        """(n, bands)."""
        window = self.window if weights is None else self.window * weights
        cut = {"window": window, "edges": self.edges}
        return np.stack([flat_cl(field, self.targets.step_rad, **cut)[1] for field in fields])

    def band_of(self, fields: FloatArray, b: int) -> FloatArray:
        """(n, side, side) what fields have in a band, the patch taken as a torus."""
        side = self.targets.side
        ell = mode_ells(side, self.targets.step_rad)
        inside = (ell >= self.edges[b]) & (ell < self.edges[b + 1])
        return np.fft.irfft2(np.where(inside, np.fft.rfft2(fields), 0.0), s=(side, side))

    def estimates(
        self, data: FloatArray
    ) -> tuple[FloatArray, dict[str, FloatArray], dict[str, FloatArray], FloatArray]:
        """True power, estimates, hole pixels over the class's rms, and the first patch's realizations' powers."""
        prediction = np.where(self.valid, data, self.filler.fill(data, self.valid).field_uK)
        missed = self.missed
        pick = np.arange(len(data))
        drawn = [
            prediction + missed[(pick * self.realizations + j) % len(missed)]
            for j in range(self.realizations)
        ]
        powers = np.stack([self.power(fields) for fields in drawn])
        values = {
            MASKED: self.power(data, self.valid.astype(np.float64)), PREDICTION: self.power(prediction),
            REALIZATION: powers[0], MEAN: powers.mean(0),
        }  # fmt: skip
        sigma = float(self.targets.truth.std())
        maps = {"target": data, PREDICTION: prediction, REALIZATION: drawn[0]}
        hole = {name: fields[:, ~self.valid] / sigma for name, fields in maps.items()}
        return self.power(data), values, hole, powers[:, 0]
