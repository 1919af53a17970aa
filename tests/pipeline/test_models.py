"""One place decides which model fills: what a name, a path, an object gives, and what is refused."""

from pathlib import Path

import pytest

from cmbinpaint import load_model
from cmbinpaint.errors import CmbInpaintError, WeightsError
from cmbinpaint.gaussian.coarse_to_fine import CoarseToFineInpainter
from cmbinpaint.gaussian.diffusive import DiffusiveInpainter
from cmbinpaint.gaussian.exact import GaussianInpainter
from cmbinpaint.pipeline.models import METHODS, RETIRED


def test_names_give_their_models() -> None:
    expected = {
        "default": GaussianInpainter, "gaussian": GaussianInpainter, "kriging": CoarseToFineInpainter,
        "diffusive": DiffusiveInpainter,
    }  # fmt: skip
    assert {name: type(load_model(name)) for name in METHODS} == expected
    assert load_model() == GaussianInpainter() and load_model().is_exact
    own = GaussianInpainter(tolerance=0.3)
    assert load_model(own) is own and own != GaussianInpainter()


@pytest.mark.parametrize("name", RETIRED)
def test_models_of_earlier_versions_are_refused_by_name(name: str) -> None:
    with pytest.raises(
        WeightsError, match=f"the model '{name}' is no longer part of the package; use model='"
    ):
        load_model(name)


@pytest.mark.parametrize(
    ("model", "kind", "says"),
    [
        (
            "krigging",
            WeightsError,
            r"unknown model 'krigging'; did you mean 'kriging'\? known: default, gaussian, ",
        ),
        (
            "zzz",
            WeightsError,
            r"unknown model 'zzz'; known: default, gaussian, kriging, diffusive, combine128; or give",
        ),
        (Path("no/card.json"), WeightsError, r"no/card\.json does not exist; expected a card"),
        (
            3,
            CmbInpaintError,
            r"model is a int; give a name \(default, gaussian, kriging, diffusive\), the path",
        ),
        (GaussianInpainter, CmbInpaintError, "model is a ABCMeta; give a name"),
    ],
)
def test_what_is_no_model_is_refused(model: object, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        load_model(model)  # type: ignore[arg-type]
