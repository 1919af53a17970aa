"""Inputs that look wrong are warned of with the evidence or refused; right ones pass in silence."""

import warnings
from pathlib import Path

import healpy as hp
import numpy as np
import pytest

from cmbinpaint.errors import CmbInpaintWarning, MapError, MaskError
from cmbinpaint.sphere.input_warnings import check_input
from cmbinpaint.sphere.pixels import pixel_vectors
from cmbinpaint.sphere.planck_mask import planck_like_mask

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NSIDE = 8
NPIX = 12 * NSIDE**2


# --- values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e21, -1e25, np.float32(1e20), np.nan])
@pytest.mark.parametrize("nest", [False, True])
def test_impossible_values_are_refused_where_observed(value: float, nest: bool) -> None:
    sky = np.random.default_rng(0).normal(size=NPIX)
    valid = np.ones(NPIX, bool)
    sky[[100, 200]] = value
    first = int(hp.ring2nest(NSIDE, 100)) if nest else 100
    with pytest.raises(
        MapError, match=rf"2 observed pixels .* first at index {first} .*: add them to the mask"
    ):
        check_input(sky, valid, nest=nest)
    valid[[100, 200]] = False
    check_input(sky, valid)


def test_a_glitch_is_warned_of_with_its_index() -> None:
    sky = np.random.default_rng(0).normal(size=NPIX)
    sky[17] = 3e6
    with pytest.warns(CmbInpaintWarning, match=r"pixel 17 is 3\.\de\+06 standard deviations"):
        check_input(sky, np.ones(NPIX, bool))


def test_a_high_monopole_is_warned_of() -> None:
    sky = 2.7255 + 1e-4 * np.random.default_rng(0).normal(size=NPIX)
    with pytest.warns(
        CmbInpaintWarning, match=r"monopole, 2\.725\d+, is 2\.\de\+04 times .* reduces precision"
    ):
        check_input(sky, np.ones(NPIX, bool))
    with pytest.warns(CmbInpaintWarning, match=r"monopole, -2\.725\d+, is 2\.\de\+04 times"):
        check_input(-sky, np.ones(NPIX, bool))


def test_a_glitch_below_is_named_as_one_above() -> None:
    sky = np.random.default_rng(0).normal(size=NPIX)
    sky[7], sky[9] = -1e9, 1e7
    with pytest.warns(CmbInpaintWarning, match=r"pixel 7 is .*e\+0[89] standard deviations from the rest"):
        check_input(sky, np.ones(NPIX, bool))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_ordinary_maps_pass_in_silence(scale: float) -> None:
    rng = np.random.default_rng(1)
    sky = scale * rng.normal(size=NPIX)
    sky[:5] *= 1e4  # bright sources
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_input(sky, np.ones(NPIX, bool))
        check_input(np.full(NPIX, 3.0), np.ones(NPIX, bool))
        check_input(sky, np.zeros(NPIX, bool))


@pytest.mark.parametrize("sentinel", [-2147483648, -32768, -9999, -99999, -999])
@pytest.mark.parametrize("dtype", ["i4", "f8"])
def test_values_that_stand_for_missing_ones_are_named(sentinel, dtype):
    sky = np.rint(100 * cmb_like(16, 0) / cmb_like(16, 0).std()).astype(dtype)
    sky[40:47] = sentinel
    valid = np.ones(sky.size, bool)
    with pytest.warns(
        CmbInpaintWarning, match=rf"7 observed pixels are exactly {sentinel}, the others from -\d+ to "
    ):
        check_input(sky.astype("f8"), valid)
    valid[40:47] = False
    assert doubts(sky.astype("f8"), valid) == []


def test_a_number_among_others_stands_for_nothing():
    sky = 3e3 * cmb_like(16, 0) / cmb_like(16, 0).std()
    sky[40] = -9999.0  # three and a third sigma
    sky[41] = -10500.0
    assert doubts(sky, np.ones(sky.size, bool)) == []


def test_a_skewed_map_is_to_be_filled_in_the_logarithm():
    sky = cmb_like(32, 0) / cmb_like(32, 0).std()
    valid = planck_like_mask(32)
    (text,) = doubts(np.exp(1.5 * sky), valid)
    assert "the map is positive and strongly skewed (skewness " in text and "take the logarithm" in text
    assert doubts(1.5 * sky, valid) == []  # its logarithm
    assert doubts(2725500.0 + 100 * np.exp(sky), valid)[0].startswith(
        "the map's monopole"
    )  # no logarithm helps here
    assert doubts(np.exp(1.5 * sky) - 1.0, valid) == []  # nor there, where some are negative
    assert doubts(np.abs(sky) + 0.5, valid) == []


# --- zeros ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nside", [16, 64])
def test_zeros_outside_of_a_survey_are_told_with_exclude(nside):
    inside = pixel_vectors(nside)[:, 2] > 0.1
    sources = np.random.default_rng(0).random(inside.size) > 0.02
    sky = np.where(inside & sources, cmb_like(nside, 0), 0.0)
    (text,) = doubts(sky, sources)
    zeros = np.count_nonzero(sources & (sky == 0))
    assert (
        text.startswith(f"{zeros} observed pixels are exactly 0, ")
        and "plan_inpainting(mask, exclude=(sky == 0))" in text
    )
    assert doubts(sky, sources & inside) == []
    assert doubts(np.where(inside, sky, hp.UNSEEN), sources & inside) == []


def test_a_map_times_its_mask_without_a_mask_is_told():
    everywhere = np.ones(12 * 64**2, bool)
    for mask in (planck_like_mask(64), np.random.default_rng(1).random(everywhere.size) > 0.001):
        (text,) = doubts(cmb_like(64, 0) * mask, everywhere, has_mask=False)
        assert f"{np.count_nonzero(~mask)} " in text and "pass mask=(sky != 0)" in text
    assert doubts(cmb_like(64, 0), everywhere, has_mask=False) == []


def test_zeros_of_counts_and_single_zeros_are_data():
    counts = np.random.default_rng(2).poisson(2.0, 12 * 32**2).astype("f8")
    assert doubts(counts, np.ones(counts.size, bool), has_mask=False) == []
    sky = cmb_like(32, 0)
    sky[[5, 900, 4000]] = 0.0
    assert doubts(sky, np.ones(sky.size, bool), has_mask=False) == []


# --- the sense of the mask --------------------------------------------------------------------------------


def test_an_inverted_mask_is_noticed_and_a_partial_sky_is_not():
    nside, rng = 64, np.random.default_rng(0)
    valid, sky = planck_like_mask(nside), cmb_like(nside, 3)
    galaxy = np.where(valid, 0, 50 * sky.std() * rng.lognormal(size=sky.size))
    (text,) = doubts(sky + galaxy, ~valid)
    assert "the mask looks inverted: 77% of the sky is masked, and" in text and "pass 1 - mask" in text
    assert doubts(sky + galaxy, valid) == []
    (text,) = doubts(sky, ~valid)
    assert text.startswith(
        "is the mask inverted? 77% of the sky is masked, and there the map varies as it does in the 23%"
    )
    assert text.endswith(
        "pass 1 - mask if it is the other way; if not, set the hidden values to UNSEEN or NaN"
    )
    for nothing in (0.0, np.nan, hp.UNSEEN):
        assert doubts(np.where(valid, nothing, sky), ~valid) == []
    assert doubts(np.where(valid, 0.0, sky), ~valid) == []  # a survey of a part of the sky
    assert doubts(np.where(valid, 0.1, sky), ~valid) == []  # the same with a constant around it


@pytest.mark.parametrize("constant", [0.0, -0.0, 0.1, -5.0])
def test_a_constant_under_an_inverted_mask_is_refused(constant):
    valid, sky = planck_like_mask(32), cmb_like(32, 3)
    with pytest.raises(
        MaskError, match=rf"all observed pixels, 2\d% of the sky, are {constant + 0.0:g}, while the map"
    ):
        check_input(np.where(valid, sky, constant), ~valid)


@pytest.mark.parametrize("constant", [0.0, 1e-6, 3.5, 1e19])
def test_a_constant_map_is_a_map(constant):
    valid = planck_like_mask(32)
    for mask in (valid, ~valid, np.ones_like(valid)):
        assert doubts(np.full(valid.size, constant), mask) == []
        assert doubts(np.where(mask, constant, 0.0), mask, has_mask=False) == []
    assert doubts(np.where(valid, constant, cmb_like(32, 0)), valid) == []  # most of the sky is observed


# --- orderings --------------------------------------------------------------------------------------------


def doubts(sky, valid, **words):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_input(sky, valid, **words)
    assert all(w.category is CmbInpaintWarning for w in caught)
    return [str(w.message) for w in caught]


def cmb_like(nside, seed, noise=0.0):
    """A sky with falling power, and white noise relative to its rms."""
    rng = np.random.default_rng(seed)
    lmax = 2 * nside
    ell, m = hp.Alm.getlm(lmax)
    alm = (rng.normal(size=ell.size) + 1j * (m > 0) * rng.normal(size=ell.size)) * np.where(ell > 1, 1.0, 0)
    sky = hp.alm2map(alm / np.maximum(ell * (ell + 1.0), 1) ** 0.5, nside, lmax=lmax)
    return sky + noise * sky.std() * rng.normal(size=sky.size)


def right_masks(nside, seed):
    x, rng = pixel_vectors(nside), np.random.default_rng(seed)
    yield planck_like_mask(nside, seed=seed)
    yield rng.random(len(x)) > 0.5
    yield rng.random(len(x)) < 0.1
    yield np.abs(x[:, 2]) > rng.random() * 0.3  # a band of few rings is compact in NESTED reading too
    yield np.abs(x[:, 2]) > 2.5 / nside
    yield x @ rng.normal(size=3) > rng.random()
    yield np.ones(len(x), dtype=bool)


@pytest.mark.parametrize(
    ("nside", "noise", "seeds"), [(8, 0.0, 6), (16, 1.0, 6), (32, 30.0, 4), (64, 0.0, 2)]
)
def test_no_doubts_about_right_masks(nside, noise, seeds):
    for seed in range(seeds):
        sky = cmb_like(nside, seed, noise)
        for valid in right_masks(nside, seed):
            # A map that goes on under a mask of most of the sky is another thing.
            assert doubts(sky if valid.mean() > 0.5 else np.where(valid, sky, np.nan), valid) == []


@pytest.mark.parametrize("nside", [32, 128])
def test_other_orderings_are_noticed_with_evidence(nside):
    valid, sky = planck_like_mask(nside), cmb_like(nside, 1)
    texts = {}
    for name, reorder in (("nest", {"r2n": True}), ("ring", {"n2r": True})):
        texts[name] = doubts(hp.reorder(sky, **reorder), valid)
        assert len(texts[name]) == 1
        if nside < 64:
            continue  # too coarse: sources of one pixel each look alike in both orders
        told = doubts(sky, hp.reorder(valid.astype(float), **reorder) > 0.5)
        assert len(told) == 1 and "the mask looks to be in" in told[0]
        (option,) = {**reorder}
        undo = {"r2n": "n2r", "n2r": "r2n"}[option]
        assert f"if it alone is, pass healpy.reorder(mask, {undo}=True)" in told[0]
    assert "the map looks to be in NESTED order, not RING: correlation of neighboring" in texts["nest"][0]
    assert "give nest=True if so" in texts["nest"][0]
    assert "the map looks to be in RING order, not NESTED" in texts["ring"][0]


# --- real maps --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the public files are not at {DATA}")
@pytest.mark.filterwarnings("ignore:column")
def test_planck_s_maps_are_understood():
    from cmbinpaint.files.fits import read_map, read_mask

    valid = read_mask(DATA / "planck_like_mask_nside128.fits") > 0.5
    smica = read_map(DATA / "CMB_I_SMICA_128_R2.00.fits")[0].astype("f8")
    (text,) = doubts(smica, ~valid)
    assert text.startswith("is the mask inverted? 76% of the sky is masked")
    assert doubts(smica, valid) == doubts(smica, np.ones_like(valid), has_mask=False) == []
    raw = read_map(DATA / "HFI_SkyMap_100_128_R2.00_RING.fits")[0].astype("f8")
    assert doubts(raw, valid) == []
    assert "the mask looks inverted" in " ".join(doubts(raw, ~valid))
    far_from_the_plane = valid & (np.abs(pixel_vectors(128)[:, 2]) > 0.6)
    assert doubts(raw, far_from_the_plane) == []
    dust = read_map(DATA / "HFI_SkyMap_857_128_R2.00_NESTED.fits", unit="MJy/sr")[0].astype("f8")
    assert "take the logarithm" in " ".join(doubts(dust, valid))
    assert doubts(np.log(dust), valid) == []
