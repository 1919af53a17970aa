"""Patches by class of the spectral index: errors, spectra, and whether a filled patch still looks like its class.

Inputs: a trained network, patches of several classes, a classifier. Outputs: `ClassStudy`.

A realization is the prediction plus what the prediction misses of another patch, `predict(d) + o' - predict(d')`. That
other patch must come from some class: of the patch's own ("realization": the spectrum is known), or of the
class nearest to Planck's whatever the patch ("realization, Planck's n_s": the spectrum is assumed). The first can keep
a class because it was given; the second shows what an assumption does.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray, IntArray
from cmbinpaint.errors import DataSetError
from cmbinpaint.studies.classifiers import Classifier, confusion_table
from cmbinpaint.studies.patch_study import PatchSpectra, check_masks
from cmbinpaint.training.data.targets import Targets
from cmbinpaint.training.run.checkpoint_models import State, Trained
from cmbinpaint.validation.jackknife import Estimate, mean, ratio_of_means, stack_estimates

TARGET, PREDICTION, REALIZATION, ASSUMED = "target", "prediction", "realization", "realization, Planck's n_s"


@dataclass(frozen=True, eq=False)
class ClassStudy:
    """What filling does to patches of each class; observed pixels are kept.

    Attributes
    ----------
    name, classifier
        Of the network and of the classifier.
    ns
        (classes,) spectral indices.
    patches
        Of each class.
    hole_fraction
        Of the mask.
    rms_uK
        (classes,) of the targets.
    error, relative
        (classes,) mean |prediction - target| over hole pixels, µK and in percent of the class's rms, with standard
        errors over patches.
    rms_error
        (classes,) rms error in holes over the class's rms.
    edges
        Bands of ell of the spectra.
    power
        (classes, bands) C_ell of the targets, µK².
    transfer
        (classes, bands) of predictions and realizations: C_ell over the targets'.
    confusion
        (classes, classes) of targets, predictions and realizations: true class, and the class found.
    """

    name: str
    classifier: str
    ns: tuple[float, ...]
    patches: IntArray
    hole_fraction: float
    rms_uK: FloatArray
    error: Estimate
    relative: Estimate
    rms_error: FloatArray
    edges: FloatArray
    power: Estimate
    transfer: dict[str, Estimate]
    confusion: dict[str, IntArray]

    def accuracy(self, kind: str) -> tuple[float, float]:
        """The fraction of patches of a kind put into their class, and its binomial standard error."""
        table = self.confusion[kind]
        fraction = float(np.trace(table) / table.sum())
        return fraction, float(np.sqrt(fraction * (1 - fraction) / table.sum()))

    def kept(self, kind: str) -> float:
        """The mean shift of n_s that the classifier finds after filling: its mean n_s, less that of targets."""
        ns = np.asarray(self.ns)
        seen = {
            name: float((table.sum(0) * ns).sum() / table.sum()) for name, table in self.confusion.items()
        }
        return seen[kind] - seen[TARGET]

    def rows(self) -> list[dict[str, Any]]:
        """One row for each class."""
        rows = []
        for k, ns in enumerate(self.ns):
            row: dict[str, Any] = {
                "n_s": ns, "patches": int(self.patches[k]), "rms_uK": float(self.rms_uK[k]),
                "error_uK": float(self.error.value[k]), "error_uK_error": float(self.error.error[k]),
                "percent_of_rms": float(self.relative.value[k]), "percent_of_rms_error": float(self.relative.error[k]),
                "rms_error_over_rms": float(self.rms_error[k]),
            }  # fmt: skip
            for kind, table in self.confusion.items():
                row[f"right_{kind}"] = float(table[k, k] / table[k].sum())
            for kind, found in self.transfer.items():
                for b in range(found.value.shape[1]):
                    name = f"transfer_{kind}_{self.edges[b]:.0f}_{self.edges[b + 1]:.0f}"
                    row[name], row[f"{name}_error"] = float(found.value[k, b]), float(found.error[k, b])
            rows.append(row)
        return rows

    def facts(self) -> dict[str, Any]:
        """What the numbers refer to."""
        return {
            "network": self.name, "classifier": self.classifier, "hole_fraction": self.hole_fraction,
            "n_s": self.ns, "confusion": {kind: table.tolist() for kind, table in self.confusion.items()},
            "accuracy": {kind: self.accuracy(kind) for kind in self.confusion},
            "mean_shift_of_n_s": {kind: self.kept(kind) for kind in self.confusion},
            "windows": "spectra as in the patches (beam and pixel window in), Hann window",
        }  # fmt: skip


def study_classes(
    trained: Trained,
    state: State,
    targets: Targets,
    others: Targets,
    valid: BoolArray,
    classifier: Classifier,
) -> ClassStudy:
    """Fill patches of every class behind one mask, and look at them class by class.

    Parameters
    ----------
    trained, state
        The network, and when.
    targets
        Patches of all classes, some of each.
    others
        Patches of all classes from other skies, which realizations take their fluctuations from.
    valid
        (side, side), True = observed.
    classifier
        Tells the classes apart.

    Raises
    ------
    DataSetError
        If there is one class, a class has no patches, or the classifier knows other classes.
    MaskError
        If the mask hides all or nothing.
    """
    check_masks({"of the classes": valid})
    n = len(targets.ns)
    _check_classes(targets, others, classifier)
    filler = trained.filler(state, targets)
    prediction = np.where(valid, targets.data, filler.fill(targets.data, valid).field_uK)
    residual = np.where(valid, 0.0, others.data - filler.fill(others.data, valid).field_uK)
    own = _partners(targets.labels, others.labels)
    assumed = _partners(np.full_like(targets.labels, targets.fiducial), others.labels)
    shown = {
        TARGET: targets.data.astype(np.float64),
        PREDICTION: prediction,
        REALIZATION: prediction + residual[own],
        ASSUMED: prediction + residual[assumed],
    }
    groups = [targets.labels == k for k in range(n)]
    rms = np.array([targets.truth[g].std(dtype=np.float64) for g in groups])
    difference = np.abs(prediction - targets.truth)[:, ~valid]
    error = stack_estimates([mean(difference[g].mean(1)) for g in groups])
    spectra = PatchSpectra(targets.side, targets.step_rad)
    power = {kind: spectra.auto(patches) for kind, patches in shown.items()}
    return ClassStudy(
        name=trained.name,
        classifier=classifier.name,
        ns=targets.ns,
        patches=np.bincount(targets.labels, minlength=n),
        hole_fraction=float(np.mean(~valid)),
        rms_uK=rms,
        error=error,
        relative=Estimate(100 * error.value / rms, 100 * error.error / rms),
        rms_error=np.array([np.sqrt(np.mean(difference[g] ** 2)) for g in groups]) / rms,
        edges=spectra.edges,
        power=stack_estimates([mean(power[TARGET][g]) for g in groups]),
        transfer={
            kind: stack_estimates([ratio_of_means(power[kind][g], power[TARGET][g]) for g in groups])
            for kind in (PREDICTION, REALIZATION, ASSUMED)
        },
        confusion={
            kind: confusion_table(targets.labels, classifier.classify(fields, targets.rms_uK), n)
            for kind, fields in shown.items()
        },
    )


def _check_classes(targets: Targets, others: Targets, classifier: Classifier) -> None:
    n = len(targets.ns)
    if n < 2:
        raise DataSetError(
            f"the data set has one class (n_s = {targets.ns[0]:g}); classes are compared in a set of several, as "
            "`cmbinpaint dataset data-new-small` makes one: name it with --data"
        )
    if classifier.classes != n:
        raise DataSetError(
            f"the classifier knows {classifier.classes} classes, the data set has {n}; give one trained on this set"
        )
    for name, some in (("patches", targets), ("patches of other skies", others)):
        missing = np.flatnonzero(np.bincount(some.labels, minlength=n) == 0)
        if missing.size:
            raise DataSetError(
                f"class n_s = {targets.ns[missing[0]]:g} has no {name}; ask for some of each class"
            )


def _partners(wanted: IntArray, labels: IntArray) -> IntArray:
    """(n,) for each wanted class the number of a patch of it; those of a class are taken in turn."""
    chosen = np.zeros(wanted.size, np.int64)
    for k in np.unique(wanted):
        here, pool = np.flatnonzero(wanted == k), np.flatnonzero(labels == k)
        chosen[here] = pool[np.arange(here.size) % pool.size]
    return chosen
