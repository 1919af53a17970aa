"""The studies of `cmbinpaint analyze`: what each computes, the tables and figures it writes.

Inputs: a command's options. Outputs: files.

A study names its files before it works, so that existing files are refused first; it draws when all numbers are known.
"""

import argparse
import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint import __version__
from cmbinpaint._files import write_whole

if TYPE_CHECKING:
    from cmbinpaint._types import BoolArray
    from cmbinpaint.problem.progress import Progress, Watch
    from cmbinpaint.studies.classifiers import Classifier
    from cmbinpaint.training.data.targets import Targets
    from cmbinpaint.training.run.checkpoint_models import State, Trained

_FORMATS = (".png", ".pdf")
_OTHERS = 160  # patches of other skies that realizations take their fluctuations from
_LEARNED = 200  # patches of a class that the discriminant learns from


@dataclass(frozen=True)
class Study:
    """A study: its name, its tables (CSV and JSON each) and figures (PNG and PDF each), and what makes them."""

    name: str
    tables: tuple[str, ...]
    figures: tuple[str, ...]
    make: "Callable[[Source], Iterator[tuple[str, Any]]]"  # a name with rows and facts, or a drawing

    def outputs(self, folder: Path) -> list[Path]:
        """All files."""
        names = [f"{table}{end}" for table in self.tables for end in (".csv", ".json")]
        names += [f"{figure}{end}" for figure in self.figures for end in _FORMATS]
        return [folder / name for name in names]

    def write(self, source: "Source", folder: Path) -> None:
        """Compute, then write every file beside its name and rename it."""
        from cmbinpaint import plots

        replace = source.args.overwrite
        for name, made in self.make(source):
            if isinstance(made, tuple):
                rows, facts = made
                text = as_json(rows, {**facts, **source.provenance})
                write_whole(folder / f"{name}.csv", as_csv(rows), replace=replace)
                write_whole(folder / f"{name}.json", text, replace=replace)
            else:
                figure = getattr(made, "figure", None) or made
                for end in _FORMATS:
                    plots.save_figure(figure, folder / f"{name}{end}", replace=replace)
                    figure.set_layout_engine("none")  # the places found once serve all formats


class Source:
    """What is analyzed, opened when it is needed."""

    def __init__(
        self, args: argparse.Namespace, command: str, bar: "Callable[[str], AbstractContextManager[Any]]"
    ) -> None:
        self.args, self.command, self.bar = args, command, bar

    @cached_property
    def trained(self) -> "Trained":
        """The training or the network."""
        from cmbinpaint.training.run.checkpoint_models import Trained

        return Trained.open(self.args.source)

    @cached_property
    def states(self) -> "tuple[State, ...]":
        """Its states, or the last."""
        return self.trained.states[-1:] if self.args.last else self.trained.states

    def targets(self, n: int, *, split: str | None = None, per_class: bool = False) -> "Targets":
        """Patches of known truth."""
        from cmbinpaint.training.data.targets import take_targets

        return take_targets(
            self.trained.data, n, self.args.seed, folder=self.args.data, split=split or self.args.split,
            per_class=per_class, name=self.trained.name,
        )  # fmt: skip

    def mask(self, side: int) -> "dict[str, BoolArray]":
        """The one mask, by name: of random shapes, or the one given."""
        from cmbinpaint.studies.patch_study import RANDOM, random_mask
        from cmbinpaint.training.data.pictures import read_picture

        if self.args.mask is None:
            return {RANDOM: random_mask(side, self.args.seed)}
        return {self.args.mask.name: read_picture(self.args.mask)}

    def spectra_lack(self) -> int:
        """How many more patches of the fiducial class spectra of patches need; 0: there are enough."""
        from cmbinpaint.studies.patch_estimators import FEWEST

        found = self.targets(FEWEST, per_class=True)
        return max(0, FEWEST - int((found.labels == found.fiducial).sum()))

    @property
    def colors_uK(self) -> tuple[float, float]:
        """T_min and T_max."""
        return self.args.t_min_uK, self.args.t_max_uK

    @contextmanager
    def progress(self, what: str) -> "Iterator[Watch]":
        """A bar that follows a study."""
        with self.bar(what) as bar:

            def watch(progress: "Progress") -> None:
                bar.total = progress.total
                bar.update(progress.done - bar.n)

            yield watch

    @property
    def provenance(self) -> dict[str, Any]:
        """What every JSON says of its making."""
        return {
            "command": self.command,
            "seed": self.args.seed,
            "version": __version__,
        }


def differences(source: Source) -> Iterator[tuple[str, Any]]:
    """Gross differences of many patches behind one mask."""
    from cmbinpaint.studies.differences import study_differences
    from cmbinpaint.studies.drawings import differences as plots

    states, targets = source.states, source.targets(source.args.patches)
    with source.progress("differences") as watch:
        study = study_differences(
            source.trained,
            targets,
            source.mask(targets.side),
            states,
            colors_uK=source.colors_uK,
            watch=watch,
        )
    yield "differences", (study.rows(), study.facts())
    yield "differences", plots.draw_difference_figure(study)
    yield "differences_depth", plots.draw_difference_depths(study)


def mask_size(source: Source) -> Iterator[tuple[str, Any]]:
    """Gross differences behind thirteen circles and one other mask."""
    from cmbinpaint.studies.differences import study_differences
    from cmbinpaint.studies.drawings import differences as plots
    from cmbinpaint.studies.patch_study import circles

    states, targets = source.states, source.targets(source.args.size_patches)
    masks = {**circles(targets.side), **source.mask(targets.side)}
    with source.progress("mask sizes") as watch:
        study = study_differences(
            source.trained, targets, masks, states, colors_uK=source.colors_uK, watch=watch
        )
    yield "mask_size", (study.rows(), study.facts())
    yield "mask_size_temperature", plots.draw_mask_size_figure(study, "temperature")
    yield "mask_size_rgb", plots.draw_mask_size_figure(study, "rgb")
    yield "mask_size_last_temperature", plots.draw_mask_size(study, "temperature")
    yield "mask_size_last_rgb", plots.draw_mask_size(study, "rgb")


def colors(source: Source) -> Iterator[tuple[str, Any]]:
    """Distributions of color, patches side by side, and what pictures do to spectra."""
    import numpy as np

    from cmbinpaint.studies.clipping import study_clipping
    from cmbinpaint.studies.colors import fill_panels, study_colors
    from cmbinpaint.studies.drawings import clipping as clip_plots
    from cmbinpaint.studies.drawings import colors as plots
    from cmbinpaint.studies.patch_study import circles

    states, trained = source.states, source.trained
    targets = source.targets(source.args.patches)
    few, one = targets[: source.args.color_patches], source.mask(targets.side)
    three = {**one, **circles(targets.side, (25, 50))}
    how: dict[str, Any] = {"colors_uK": source.colors_uK, "colors": source.args.colors}
    with source.progress("colors") as watch:
        history = study_colors(trained, few, one, states, **how, watch=watch)
    last = study_colors(trained, few, three, states[-1:], **how)
    panels = fill_panels(trained, few, three, **how)
    valid = next(iter(one.values()))
    fill = trained.filler(states[-1], targets).fill(targets.data, valid).field_uK
    filled = np.where(valid, targets.truth, fill)
    clipping = study_clipping(targets.truth.astype(np.float64), targets.step_rad, filled_uK=filled)
    yield "colors", (history.rows(), history.facts())
    yield "colors_masks", (last.rows(), last.facts())
    yield "clipping", (clipping.rows(), clipping.facts())
    yield "colors_fits", plots.draw_color_figure(history)
    yield "colors_over_training", plots.draw_color_distributions(history, over="states")
    yield "colors_by_mask", plots.draw_color_distributions(last)
    yield "panels_temperature", plots.draw_panels(panels)
    yield "panels_rgb", plots.draw_panels(panels, pictures=True)
    yield "clipped_spectra", clip_plots.draw_clipping_figure(clipping, source.args.t_max_uK)


def classes(source: Source) -> Iterator[tuple[str, Any]]:
    """Fills class by class."""
    from cmbinpaint.studies.classes import study_classes
    from cmbinpaint.studies.drawings import classes as plots

    n, state = source.args.class_patches, source.trained.states[-1]
    targets = source.targets(n, per_class=True)
    others = source.targets(n, split="train", per_class=True)
    valid = next(iter(source.mask(targets.side).values()))
    study = study_classes(source.trained, state, targets, others, valid, _classifier(source))
    yield "classes", (study.rows(), study.facts())
    yield "classes_spectra", plots.draw_class_figure(study)
    yield "confusion", plots.draw_confusions(study)


def patch_spectra(source: Source) -> Iterator[tuple[str, Any]]:
    """Estimators on patches of the fiducial class."""
    from cmbinpaint.studies.drawings import estimators as plots
    from cmbinpaint.studies.patch_estimators import study_patch_estimators

    trained = source.trained
    targets, others = (
        source.targets(n, split=split, per_class=True)
        for n, split in ((source.args.patches, source.args.split), (_OTHERS, "train"))
    )
    own, fluctuations = (some[some.labels == some.fiducial] for some in (targets, others))
    valid = next(iter(source.mask(targets.side).values()))
    with source.progress("spectra of patches") as watch:
        found = study_patch_estimators(trained, trained.states[-1], own, fluctuations, valid, watch=watch)
    yield "patch_spectra", (found.rows(), found.to_dict())
    yield "patch_spectra_estimators", plots.draw_estimators(found)
    yield "patch_spectra_example", plots.draw_example(found)


def sky_spectra(source: Source) -> Iterator[tuple[str, Any]]:
    """Estimators on skies of the sphere, behind a Planck-like mask."""
    from cmbinpaint.pipeline.models import load_model
    from cmbinpaint.sphere.maps import validate_nside
    from cmbinpaint.sphere.planck_mask import planck_like_mask
    from cmbinpaint.studies.drawings import estimators as plots
    from cmbinpaint.studies.sky_estimators import standard_setup, study_sky_estimators

    nside = validate_nside(source.args.nside)
    setup = standard_setup(planck_like_mask(nside), source.args.seed)
    with source.progress("spectra of skies") as watch:
        found = study_sky_estimators(
            setup, load_model(str(source.args.source)), source.args.skies, watch=watch
        )
    yield "sky_spectra", (found.rows(), found.to_dict())
    yield "sky_spectra_estimators", plots.draw_estimators(found)
    yield "sky_spectra_example", plots.draw_example(found)


def map_patches(source: Source) -> Iterator[tuple[str, Any]]:
    """All of CoMBInE's terms on patches cut from a filled map."""
    from cmbinpaint.studies.drawings import clipping as clip_plots
    from cmbinpaint.studies.drawings import colors as plots
    from cmbinpaint.studies.map_patches import DIFFERENCE_UNITS, MapPatches

    args = source.args
    found = MapPatches.read(args.source, args.target, args.patches, args.seed)
    colors = found.colors(source.colors_uK, args.colors)
    spectra = found.spectra()
    yield "map_differences", (found.differences(source.colors_uK), {**found.facts, **DIFFERENCE_UNITS})
    yield "map_colors", (colors.rows(), {**found.facts, **colors.facts()})
    yield "map_spectra", (spectra.rows(), {**found.facts, **spectra.facts()})
    yield "map_ks", (found.ks_tests(), found.facts)
    yield "map_colors", plots.draw_color_distributions(colors)
    yield "map_spectra", clip_plots.draw_clipping_figure(spectra, args.t_max_uK)


STUDIES = {
    study.name: study
    for study in (
        Study("differences", ("differences",), ("differences", "differences_depth"), differences),
        Study("mask-size", ("mask_size",), (
            "mask_size_temperature", "mask_size_rgb", "mask_size_last_temperature", "mask_size_last_rgb",
        ), mask_size),
        Study("colors", ("colors", "colors_masks", "clipping"), (
            "colors_fits", "colors_over_training", "colors_by_mask", "panels_temperature", "panels_rgb",
            "clipped_spectra",
        ), colors),
        Study("patch spectra", ("patch_spectra",), ("patch_spectra_estimators", "patch_spectra_example"),
              patch_spectra),
        Study("sky spectra", ("sky_spectra",), ("sky_spectra_estimators", "sky_spectra_example"), sky_spectra),
        Study("maps", ("map_differences", "map_colors", "map_spectra", "map_ks"), ("map_colors", "map_spectra"),
              map_patches),
        Study("classes", ("classes",), ("classes_spectra", "confusion"), classes),
    )
}  # fmt: skip


def as_csv(rows: list[dict[str, Any]]) -> str:
    """A table with the columns of its first row; what is not a number is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return stream.getvalue()


def as_json(rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """Facts, then rows; what is not a number is null."""
    from cmbinpaint.validation.validation import plain

    return json.dumps({**plain(facts), "rows": plain(rows)}, indent=1) + "\n"


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.8g}" if value == value else ""
    return value


def _classifier(source: Source) -> "Classifier":
    from cmbinpaint.studies.classifiers import RingDiscriminant
    from cmbinpaint.training.run.checkpoint_models import TrainedClassifier

    if source.args.classifier is not None:
        return TrainedClassifier.open(source.args.classifier)
    known = source.targets(_LEARNED, split="train", per_class=True)
    return RingDiscriminant.learn(known.truth, known.labels)
