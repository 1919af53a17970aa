"""What a network cannot fill is refused or warned of by `inpaint_map` and the command, and the limit is named."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cmbinpaint import cli, inpaint_map, plan_inpainting, write_map
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning, MaskError, WeightsError
from cmbinpaint.networks import inpainter as module
from cmbinpaint.networks.card import Card
from cmbinpaint.networks.store import save_weights
from cmbinpaint.nn.models import build_model
from cmbinpaint.sims import fiducial_cl, simulate_sky
from cmbinpaint.sphere.pixels import pixel_size, pixel_vectors

NSIDE = 128
TINY = {"preset": "unet128", "thinner": 16, "channels": 1}
LIMITS = {
    "steps_arcmin": [1.7, 27.5],
    "noise_over_patch_rms": [0.01, 0.5],
    "beam_px": [0, 5],
    "n_s": [0.5, 1.5],
}


def save(folder: Path, family: str, architecture: dict, data: object = "none") -> Path:
    """A card and its weights, drawn at random."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_model({"family": family, **architecture})
    card = Card(
        name="mine", family=family, architecture=architecture, data=data, recipe="none", normalization="none", seed=0,
        steps=0, commit="none", license="BSD-3-Clause", version="0",
    )  # fmt: skip
    save_weights(folder, card, network.state_dict())
    return folder / "mine.json"


def sky_at(nside: int, fwhm_px: float = 3.0) -> tuple[np.ndarray, dict]:
    known = {"cl": fiducial_cl(3 * nside - 1), "fwhm": fwhm_px * pixel_size(nside), "noise_std": 3.0}
    return simulate_sky(nside=nside, **known, seed=0), {**known, "unit": "uK", "seed": 1}


def a_few_holes(nside: int) -> np.ndarray:
    return pixel_vectors(nside) @ np.array([0.6, 0, 0.8]) < np.cos(3 * pixel_size(nside))


def test_maps_of_other_resolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    sky, known = sky_at(64)
    with pytest.raises(WeightsError) as below:
        inpaint_map(sky, a_few_holes(64), model="combine128", **known)
    assert str(below.value) == (
        "the network 'combine128' is for nside 128 to 2048, the map has 64; use model='default', the exact answer, "
        "which takes a second there"
    )
    # A map of nside 4096 has 200 million pixels: the same with the limit drawn in.
    monkeypatch.setattr(module, "NSIDES", (16, 32))
    with pytest.raises(
        WeightsError, match=r"is for nside 16 to 32, the map has 64; .*ud_grade the map to 32"
    ):
        inpaint_map(sky, a_few_holes(64), model="combine128", **known)


def test_the_command_names_its_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sky, _ = sky_at(16)
    sky[:9] = np.nan
    write_map(tmp_path / "sky.fits", sky, unit="uK")
    argv = ["inpaint", str(tmp_path / "sky.fits"), "-o", str(tmp_path / "out.fits"), "--model", "combine128"]
    assert cli.main(argv) == 1
    said = capsys.readouterr().err
    assert "is for nside 128 to 2048, the map has 16; use --model default, the exact answer" in said
    assert not (tmp_path / "out.fits").exists()


@pytest.mark.parametrize("more", [[], ["--misspecified"]], ids=["right", "wrong"])
def test_validation_refuses_before_any_sky_is_made(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["validate", "--nside", "64", "--model", "combine128", "--skies", "2", "-o", str(tmp_path / "out")]
    assert cli.main([*argv, *more]) == 1
    assert "is for nside 128 to 2048, the map has 64; use --model default" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.npz"))


def test_a_mask_without_data_within_a_patch(tmp_path: Path) -> None:
    """A patch of the widest level, 54 deg, amid 75 deg of sky that is neither observed nor to be filled."""
    sky, known = sky_at(NSIDE)
    away = np.degrees(np.arccos(np.clip(pixel_vectors(NSIDE)[:, 2], -1, 1)))
    plan = plan_inpainting(away > 75, exclude=(away <= 75) & (away > 2))
    words = r"a patch 54 deg wide sees no observed pixel at longitude \d+, latitude \d+ deg: .* use model='default', or"
    with pytest.raises(MaskError, match=words):
        inpaint_map(sky, plan=plan, model=save(tmp_path, "pconv", TINY), **known)


@pytest.mark.parametrize(
    ("family", "architecture", "words"),
    [
        ("vgg16", {"channels": 1, "blocks": 3, "widths": [4, 6, 8]},
         "'mine' is a network of family 'vgg16', which fills no maps; expected 'pconv'"),
        ("pconv", {**TINY, "channels": 3},
         "'mine' draws pictures of 3 channels; a map is filled by networks of one channel, temperature, such as "
         "model='combine128'"),
    ],
    ids=["family", "channels"],
)  # fmt: skip
def test_networks_that_fill_no_maps(tmp_path: Path, family: str, architecture: dict, words: str) -> None:
    sky, known = sky_at(NSIDE)
    with pytest.raises(WeightsError) as caught:
        inpaint_map(sky, a_few_holes(NSIDE), model=save(tmp_path, family, architecture), **known)
    assert str(caught.value) == words


def test_the_classifier_that_ships_fills_no_map() -> None:
    sky, known = sky_at(NSIDE)
    with pytest.raises(CmbInpaintError, match="vgg16-cmb"):
        inpaint_map(sky, a_few_holes(NSIDE), model="vgg16-cmb", **known)


@pytest.mark.parametrize(
    ("fwhm_px", "words"),
    [(3.0, None), (7.0, r"beam is like one of fwhm, in pixels, 7.*was evaluated for 0 to 5")],
)
def test_a_card_whose_limits_are_exceeded(tmp_path: Path, fwhm_px: float, words: str | None) -> None:
    sky, known = sky_at(NSIDE, fwhm_px)
    path, valid = save(tmp_path, "pconv", TINY, LIMITS), a_few_holes(NSIDE)
    if words is None:
        filled = inpaint_map(sky, valid, model=path, refine=0, **known)  # warnings are errors here
    else:
        with pytest.warns(CmbInpaintWarning, match=words):
            filled = inpaint_map(sky, valid, model=path, refine=0, **known)
    assert np.isfinite(filled).all() and np.array_equal(filled[valid], sky[valid])
