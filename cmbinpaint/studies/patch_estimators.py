"""Estimators of bandpowers on flat patches, for networks that fill patches.

Inputs: a trained network, targets, a mask. Outputs: `EstimatorEnsemble`.

As on the sphere, but that nothing is decoupled: spectra are those behind a Hann window, of the whole patch (target and
fills) or of its observed pixels over the window's mean square. A network of CoMBInE's family is not linear, so that
its response is a difference: the band is made stronger and weaker in the target, and the patch filled again.
"""

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import DataSetError
from cmbinpaint.plane.power import mode_ells
from cmbinpaint.problem.progress import Progress, Watch
from cmbinpaint.studies.estimator_performance import (
    MASKED,
    MEAN,
    PREDICTION,
    REALIZATION,
    EstimatorEnsemble,
    evaluate,
)  # fmt: skip
from cmbinpaint.studies.ks import ks_test
from cmbinpaint.studies.patch_study import PatchSpectra, check_masks
from cmbinpaint.training.data.targets import Targets
from cmbinpaint.training.run.checkpoint_models import PatchFiller, State, Trained

_STEP = 0.2  # of a band's amplitude, either way
FEWEST = 20


def study_patch_estimators(
    trained: Trained, state: State, targets: Targets, others: Targets, valid: BoolArray, *, realizations: int = 4,
    samples: int = 10, watch: Watch | None = None,
) -> EstimatorEnsemble:  # fmt: skip
    """Evaluate estimators on patches of one class.

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
    watch
        Called with the `Progress`.

    Raises
    ------
    DataSetError
        If there are too few patches, or they are of several classes.
    MaskError
        If the mask hides all or nothing.
    """
    check_masks({"of the spectra": valid})
    if len(targets) < FEWEST or len(others) < realizations:
        raise DataSetError(
            f"{len(targets)} patches given, and {len(others)} to draw fluctuations from; expected {FEWEST} and "
            f"{realizations} or more: take a larger data set"
        )
    if len({*targets.labels.tolist(), *others.labels.tolist()}) > 1:
        raise DataSetError("patches of several classes given; spectra are evaluated within one")
    run = _Run(trained.filler(state, targets), targets, others, valid, realizations)
    bands = len(run.edges) - 1
    done, total = 0, 1 + 2 * bands

    def count() -> None:
        nonlocal done
        done += 1
        if watch is not None:
            watch(Progress("fill", done, total))

    true, found, hole, drawn = run.estimates(targets.data.astype(np.float64))
    count()
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
            count()
    window = run.spectra.window
    seen = np.sum(np.where(valid, window, 0.0) ** 2) / np.sum(window**2)
    return EstimatorEnsemble(
        facts={
            "model": trained.name, "step": state.step, "n_s": targets.ns[int(targets.labels[0])],
            "patches": len(targets), "observed_fraction": float(valid.mean()), "realizations": realizations,
            "response_samples": len(few),
        },
        edges=run.edges,
        true=true.mean(0),
        estimators={name: evaluate(found[name], true, true.mean(0), moved[name], moves) for name in found},
        limit=true.std(0, ddof=1) / true.mean(0) / np.sqrt(seen),
        limit_kind="whole patches' own scatter over the root of the observed fraction",
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
        self.spectra = PatchSpectra(targets.side, targets.step_rad)
        self.edges = self.spectra.edges
        data = others.data.astype(np.float64)
        self.residual = np.where(valid, 0.0, data - filler.fill(data, valid).field_uK)

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
        residual = self.residual
        pick = np.arange(len(data))
        drawn = [
            prediction + residual[(pick * self.realizations + j) % len(residual)]
            for j in range(self.realizations)
        ]
        powers = np.stack([self.spectra.auto(fields) for fields in drawn])
        values = {
            MASKED: self.spectra.auto(data, self.valid.astype(np.float64)), PREDICTION: self.spectra.auto(prediction),
            REALIZATION: powers[0], MEAN: powers.mean(0),
        }  # fmt: skip
        sigma = float(self.targets.truth.std())
        maps = {"target": data, PREDICTION: prediction, REALIZATION: drawn[0]}
        hole = {name: fields[:, ~self.valid] / sigma for name, fields in maps.items()}
        return self.spectra.auto(data), values, hole, powers[:, 0]
