"""`cmbinpaint validate`: resumable, honest about its setup, its figures those of the records."""

import json

import numpy as np
import pytest

from cmbinpaint import cli
from cmbinpaint.commands import validate
from cmbinpaint.files import fits
from cmbinpaint.networks.card import Card
from cmbinpaint.networks.store import list_models
from cmbinpaint.sphere.round_mask import round_holes_mask
from cmbinpaint.validation.misspecified import SCENARIOS
from tests.validation.worlds import valid_at

PICTURES = {
    "excess", "distance", "sharpness", "bias", "bias_raw", "ratio_realization", "ratio_prediction", "coverage",
    "low_multipoles", "jumps", "one_point",
}  # fmt: skip


@pytest.fixture(scope="module")
def mask(tmp_path_factory):
    path = tmp_path_factory.mktemp("mask") / "mask.fits"
    fits.write_map(path, valid_at(8).astype(np.float32), unit=None, ordering="NESTED")
    return path


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Leave the eleven pictures, which another test has drawn."""
    monkeypatch.setattr(validate, "_draw", lambda result, folder: None)


def words(mask, folder, *more: str) -> list[str]:
    return ["validate", "--nside", "8", "--mask", str(mask), "--skies", "3", "-o", str(folder), *more]


def records(folder) -> dict[str, tuple[int, bytes]]:
    paths = sorted((folder / "records").rglob("*.npz"))
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_it_writes_figures_tables_and_pictures_and_goes_on_where_it_was(
    mask, tmp_path, capsys, monkeypatch
) -> None:
    models = ["--model", "kriging", "--model", "gaussian", "--model", "kriging@5"]
    assert cli.main(words(mask, tmp_path, *models)) == 0
    out = capsys.readouterr().out
    assert "### Excess" in out and (tmp_path / "validation.md").read_text() in out
    first, _, second = out.splitlines()[:3]
    assert first.startswith("Errors of kriging are up to ") and "gaussian is the exact answer" in first
    assert second.startswith("nside 8,")
    figures = json.loads((tmp_path / "validation.json").read_text())
    assert list(figures["models"]) == ["kriging", "gaussian", "kriging@5"] and figures["skies"] == 3
    assert figures["fsky"] == pytest.approx(valid_at(8).mean(), rel=1e-5)
    assert figures["models"]["kriging@5"]["steps"] == 5 and "--skies 3" in figures["command"]
    assert {path.stem for path in tmp_path.glob("*.png")} == PICTURES

    before = records(tmp_path)
    lost = tmp_path / "records" / "kriging" / "0001.npz"
    lost.unlink()
    monkeypatch.setattr(validate, "_draw", lambda result, folder: None)
    assert cli.main(words(mask, tmp_path, *models)) == 0
    after = records(tmp_path)
    same = [name for name in before if before[name] == after[name]]
    assert len(before) == 12 and set(before) - set(same) == {"records/kriging/0001.npz"}
    again = json.loads((tmp_path / "validation.json").read_text())
    assert again["models"]["kriging"]["excess"] == figures["models"]["kriging"]["excess"]


def test_records_of_another_seed_are_refused_unless_overwritten(mask, tmp_path, capsys, undrawn) -> None:
    base = words(mask, tmp_path, "--model", "kriging")
    assert cli.main([*base, "--seed", "1"]) == 0
    assert cli.main([*base, "--seed", "2"]) == 1
    err = capsys.readouterr().err
    assert "is a record of another setup, model or version" in err and "overwrite to start over" in err
    assert cli.main([*base, "--seed", "2", "--overwrite"]) == 0
    assert json.loads((tmp_path / "validation.json").read_text())["seed"] == 2


def test_a_card_takes_its_figures(mask, tmp_path, capsys, monkeypatch, undrawn) -> None:
    card = list_models()[0]
    path = tmp_path / "card.json"
    path.write_text(card.to_json())
    with_card = ["--model", "kriging", "--card", str(path)]
    assert cli.main(words(mask, tmp_path, *with_card)) == 1
    assert f"the card is of {card.name!r}, which is none of the models kriging" in capsys.readouterr().err
    # the network is for nside 128 and up; here kriging stands in as the bearer of its card
    monkeypatch.setattr("cmbinpaint.gaussian.coarse_to_fine.CoarseToFineInpainter.sha256", card.sha256)
    assert cli.main(words(mask, tmp_path, *with_card, "--model", "kriging@1")) == 0
    kept = Card.from_json(path.read_text())
    figures = json.loads((tmp_path / "validation.json").read_text())
    entry = kept.figures["validation_nside8"]
    assert entry["excess"] == figures["models"]["kriging"]["excess"] and entry["skies"] == 3
    refined = kept.figures["validation_nside8@1"]
    assert refined["excess"] == figures["models"]["kriging@1"]["excess"]
    assert set(card.figures) < set(kept.figures) and kept.sha256 == card.sha256


def test_wrong_models(mask, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(validate, "MISSPECIFIED_MODELS", ("kriging",))
    monkeypatch.setattr("cmbinpaint.validation.misspecified.SCENARIOS", SCENARIOS[:2])
    assert cli.main(words(mask, tmp_path, "--misspecified")) == 0
    assert "Shift of C_ell, percent: kriging, given a fixed model, 3 skies" in capsys.readouterr().out
    (result,) = json.loads((tmp_path / "misspecified.json").read_text())["results"]
    assert list(result["fixed"]) == ["beam given 2 % too narrow"] and list(result["estimated"]) == [
        "standard"
    ]
    assert (tmp_path / "misspecified_kriging.png").is_file() and (tmp_path / "misspecified.md").is_file()


@pytest.mark.parametrize(
    ("more", "code", "text"),
    [
        (["--skies", "1"], 1, "--skies 1: errors need two skies at least"),
        (["--model", "krigin"], 1, "unknown model 'krigin'"),
        (
            ["--card", "none.json"],
            1,
            "none.json is not available; --card names the card (.json) of a network",
        ),
        (
            ["--misspecified", "--card", "CARD"],
            1,
            "--card takes the figures of the true sky model; omit",
        ),
        (["--nside", "12"], 1, "nside 12 is not a power of two"),
        (["--model", "kriging", "--model", "kriging"], 1, "expected different ones, none named"),
        (["--holes", "round"], 2, "argument --holes: not allowed with argument --mask"),
        (["--skies", "x"], 2, "argument --skies: got 'x'; expected a whole number above 0"),
    ],
)
def test_what_cannot_be_validated(more, code, text, mask, tmp_path, capsys) -> None:
    assert cli.main([*words(mask, tmp_path), *more]) == code
    assert text in capsys.readouterr().err


def test_a_mask_of_another_nside_is_averaged(tmp_path, mask, capsys) -> None:
    full = tmp_path / "full.fits"
    fits.write_map(full, np.ones(12 * 16**2, np.float32), unit=None, ordering="RING")
    assert cli.main(words(full, tmp_path / "out")) == 1
    assert "the mask has no holes" in capsys.readouterr().err


def test_round_holes_are_drawn_on_demand(tmp_path, capsys, undrawn) -> None:
    argv = [
        "validate",
        "--nside",
        "16",
        "--holes",
        "round",
        "--model",
        "kriging",
        "--skies",
        "2",
        "-o",
        str(tmp_path),
    ]
    assert cli.main(argv) == 0
    figures = json.loads((tmp_path / "validation.json").read_text())
    assert figures["n_holes"] == 3 and figures["fsky"] == pytest.approx(round_holes_mask(16).mean(), rel=1e-5)
    assert "up to 10 px wide: kriging" in capsys.readouterr().out


def test_t_q_u_have_every_figure_and_leakage(mask, tmp_path, capsys) -> None:
    options = ["--fields", "TQU", "--noise-std", "2,0.05"]
    assert cli.main(words(mask, tmp_path, *options)) == 0
    text = capsys.readouterr().out
    assert "\nTQU, nside 8" in text and "noise 2, 0.05, 0.05 µK per pixel" in text
    assert "### Leakage: E-only skies" in text and "| without B |" in text
    figures = json.loads((tmp_path / "validation.json").read_text())
    assert list(figures["models"]) == ["default"] and figures["kinds"] == {"default": "exact"}
    assert figures["leakage"]["r_ranges"][0] == "2-10"
    assert (
        figures["leakage"]["with B"]["over_b"]["value"][0]
        < figures["leakage"]["zeros in the holes"]["over_b"]["value"][0]
    )
    assert {path.stem for path in tmp_path.glob("*.png")} == PICTURES | {"leakage"}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").rglob("*.npz")}
    assert len(before) == 2 * 3 + 2 * 3
    for extra, said in (
        (["--model", "kriging"], "fills temperature only"),
        (["--misspecified"], "--misspecified is for temperature; omit --fields TQU"),
    ):
        assert cli.main(words(mask, tmp_path, *options, *extra)) == 1
        assert said in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "records").rglob("*.npz")}
