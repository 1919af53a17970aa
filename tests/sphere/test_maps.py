"""Maps of any kind go in, the same kind comes out, observed pixels bit for bit."""

from dataclasses import replace
from typing import Any

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.table import Table
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import MapError, UnitsError
from cmbinpaint.sphere.maps import (
    UNSEEN,
    degrade,
    npix_to_nside,
    to_nest,
    to_ring,
    validate_map,
    validate_nside,
)

NSIDE = 8
NPIX = 12 * NSIDE**2
FLOATS = ["<f4", ">f4", "<f8", ">f8", "<f2", ">f2", "g"]
INTEGERS = ["i1", "<i2", ">i4", "<i8", "u1", "<u4"]


def draw(seed: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """A map in the dtype and a random mask, True = hole, in the map's own order."""
    rng = np.random.default_rng(seed)
    return (100 * rng.normal(size=NPIX)).clip(0, 127).astype(dtype), rng.random(NPIX) < 0.3


def to_kind(kind: str, sky: np.ndarray, holes: np.ndarray) -> Any:
    if kind == "masked":
        return np.ma.MaskedArray(sky, mask=holes)
    if kind == "quantity":
        return u.Quantity(sky, u.mK, dtype=sky.dtype)
    if kind == "column":
        return sky[:, None]
    if kind == "row":
        return sky[None, :]
    if kind == "strided":
        wide = np.zeros((sky.size, 3), sky.dtype)
        wide[:, 1] = sky
        return wide[:, 1]
    frozen = sky.copy()
    frozen.flags.writeable = False
    return frozen


def bits(array: Any) -> bytes:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).tobytes()


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(FLOATS),
    kind=st.sampled_from(["masked", "quantity", "column", "row", "strided", "readonly"]),
    nest=st.booleans(),
    n=st.sampled_from([None, 1, 3]),
)
def test_observed_pixels_come_back_bit_for_bit(
    seed: int, dtype: str, kind: str, nest: bool, n: int | None
) -> None:
    sky, holes = draw(seed, dtype)
    given_sky = to_kind(kind, sky, holes)
    before = np.array(sky, copy=True)
    taken = validate_map(given_sky, nest=nest)

    order = hp.ring2nest(NSIDE, np.arange(NPIX)) if nest else np.arange(NPIX)
    assert taken.values.dtype == np.float64 and taken.values.flags.c_contiguous
    expected = sky.astype(np.float64)[order]
    np.testing.assert_array_equal(taken.values[taken.known], expected[taken.known])
    np.testing.assert_array_equal(taken.known, ~holes[order] if kind == "masked" else True)
    assert np.all(taken.values[~taken.known] == 0.0)

    filled = np.full((NPIX,) if n is None else (n, NPIX), 0.5) + np.arange(NPIX)
    out = taken.to_user_format(filled, holes[order])
    plain = np.asarray(out.value if kind == "quantity" else out)
    wanted = np.dtype(np.float32) if dtype.endswith("f2") else np.dtype(dtype).newbyteorder("=")
    assert out.dtype == wanted and out.shape == filled.shape and out.dtype.isnative
    back = np.empty(NPIX)
    back[order] = np.arange(NPIX)
    for layer in plain.reshape(-1, NPIX):
        assert bits(layer[~holes]) == bits(before.astype(wanted)[~holes])
        np.testing.assert_array_equal(layer[holes], (back + 0.5).astype(wanted)[holes])
    if kind == "quantity":
        assert isinstance(out, u.Quantity) and out.unit == u.mK and taken.unit == "mK_CMB"
    if kind == "masked":
        assert isinstance(out, np.ma.MaskedArray) and not np.ma.getmaskarray(out).any()
    np.testing.assert_array_equal(sky, before)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_become_float64(dtype: str) -> None:
    sky, holes = draw(1, dtype)
    out = validate_map(sky).to_user_format(np.full(NPIX, 0.25), holes)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out, np.where(holes, 0.25, sky.astype(np.float64)))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_unseen_nan_and_masked_entries_are_unknown(dtype: str) -> None:
    sky = np.arange(NPIX, dtype=dtype)
    sky[[3, 4]] = UNSEEN
    sky[5] = np.nan
    data = np.ma.MaskedArray(sky, mask=np.arange(NPIX) == 7, fill_value=1e20)
    taken = validate_map(data)
    assert np.flatnonzero(~taken.known).tolist() == [3, 4, 5, 7]
    assert np.all(taken.values[~taken.known] == 0.0)
    assert np.flatnonzero(~validate_map(sky).known).tolist() == [3, 4, 5]


@settings(max_examples=30, deadline=None)
@given(value=st.sampled_from([1e20, 1e30, np.inf, np.nan, UNSEEN, -0.0]), nest=st.booleans())
def test_what_lies_under_a_masked_entry_is_never_read(value: float, nest: bool) -> None:
    sky, holes = draw(2, "f8")
    other = np.where(holes, value, sky)
    one = validate_map(np.ma.MaskedArray(sky, mask=holes), nest=nest)
    two = validate_map(np.ma.MaskedArray(other, mask=holes), nest=nest)
    assert bits(one.values) == bits(two.values) and bits(one.known) == bits(two.known)


def test_masked_pixels_that_stay_unfilled_stay_masked() -> None:
    mask = np.zeros(NPIX, bool)
    mask[[2, 9]] = True
    taken = validate_map(np.ma.MaskedArray(np.ones(NPIX), mask=mask))
    out = taken.to_user_format(np.full(NPIX, 5.0), np.arange(NPIX) == 2)
    assert np.flatnonzero(np.ma.getmaskarray(out)).tolist() == [9]
    assert out[2] == 5.0


def test_astropy_masked_quantities_are_understood() -> None:
    sky = Masked(np.arange(NPIX, dtype="f4") * u.uK, mask=np.arange(NPIX) == 5)
    taken = validate_map(sky)
    assert taken.unit == "uK_CMB" and np.flatnonzero(~taken.known).tolist() == [5]
    out = taken.to_user_format(np.full(NPIX, -1.0), ~taken.known)
    assert out.unit == u.uK and out.dtype == np.float32 and not out.mask.any() and out.unmasked.value[5] == -1


def test_a_memory_map_is_taken_and_never_written(tmp_path: Any) -> None:
    np.save(tmp_path / "sky.npy", np.ones(NPIX, "f4"))
    sky = np.load(tmp_path / "sky.npy", mmap_mode="r")
    out = validate_map(sky, nest=True).to_user_format(np.zeros(NPIX), np.arange(NPIX) < 4)
    assert out.flags.writeable and not isinstance(out, np.memmap) and (sky == 1).all()


def test_give_refuses_other_shapes() -> None:
    with pytest.raises(MapError, match=r"filled has shape \(12,\) and holes \(768,\); \(768,\) was expected"):
        validate_map(np.ones(NPIX)).to_user_format(np.ones(12), np.zeros(NPIX, bool))


@pytest.mark.parametrize(
    ("sky", "text"),
    [
        (np.ones((3, NPIX)), r"shape \(3, 768\): temperature only, pass map\[0\]"),
        ([np.ones(NPIX)] * 3, r"shape \(3, 768\): temperature only, pass map\[0\]"),
        (np.ones((NPIX, 3)), r"temperature only, pass map\[:, 0\]"),
        (np.ones((2, 3, NPIX)), r"shape \(2, 3, 768\); one map of shape \(npix,\) was expected"),
        (
            np.ones(700),
            r"700 pixels is not a HEALPix map.*nearest lengths are 192 \(nside 4\) and 768 \(nside 8\)",
        ),
        (np.ones(12 * 9), r"nside 3 is not a power of two.*halving of resolution need one; .*ud_grade"),
        (np.array([]), r"got ndarray, an empty array of shape \(0,\)"),
        (5.0, "got float, a scalar"),
        ("map.fits", "got str of dtype <U8: is it a path. read_map reads a file"),
        (None, "got NoneType of dtype object"),
        (np.ones(NPIX, complex), "got ndarray of dtype complex128"),
        (np.ones(NPIX, object), "dtype object"),
        (np.ones(NPIX, bool), "dtype bool: is it the mask"),
        ([[1.0], [1.0, 2.0]], "a map is one array of numbers; got list"),
    ],
)
def test_what_is_no_map_is_refused(sky: Any, text: str) -> None:
    with pytest.raises(MapError, match=text):
        validate_map(sky)


def test_units_of_maps() -> None:
    assert validate_map(np.ones(NPIX)).unit is None
    assert validate_map(np.ones(NPIX), unit="muK").unit == "uK_CMB"
    assert validate_map(np.ones(NPIX) * u.K, unit="K_CMB").unit == "K_CMB"
    with pytest.raises(UnitsError, match="unit='K' was declared, but the map is in uK_CMB"):
        validate_map(np.ones(NPIX) * u.uK, unit="K")
    assert validate_map(np.ones(NPIX) * u.MJy / u.sr).unit == "MJy / sr"
    assert validate_map(np.ones(NPIX), unit="MJy/sr").unit == "MJy/sr"
    column = Table({"I": np.ones(NPIX) * u.mK})["I"]  # no Quantity, but with a unit
    taken = validate_map(column)
    assert taken.unit == "mK_CMB" and taken.to_user_format(np.ones(NPIX), taken.known).unit == u.mK


@pytest.mark.parametrize("nside", [1, 2, 64, 2**29, np.int64(8), 8.0])
def test_good_nsides(nside: Any) -> None:
    assert validate_nside(nside) == int(nside) and type(validate_nside(nside)) is int


@pytest.mark.parametrize("nside", [0, -4, 3, 2**30, 2.5, "8", None, True, np.nan])
def test_bad_nsides(nside: Any) -> None:
    with pytest.raises(MapError, match="power of two"):
        validate_nside(nside)


@given(st.integers(0, 14))
def test_npix_and_nside_are_inverse(power: int) -> None:
    assert npix_to_nside(12 * 4**power) == 2**power


@settings(max_examples=25, deadline=None)
@given(power=st.integers(0, 5), dtype=st.sampled_from(["f8", ">f4", "i4", "bool"]), seed=st.integers(0, 99))
def test_orderings_are_inverse_and_agree_with_healpy(power: int, dtype: str, seed: int) -> None:
    sky = np.random.default_rng(seed).integers(0, 100, 12 * 4**power).astype(dtype)
    nested = to_nest(sky)
    np.testing.assert_array_equal(to_ring(nested), sky)
    np.testing.assert_array_equal(nested, hp.reorder(sky.astype("f8"), r2n=True).astype(dtype))
    assert nested.dtype == sky.dtype
    np.testing.assert_array_equal(to_nest(np.stack([sky, sky])), [nested, nested])


def test_reordering_in_chunks_equals_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sky = np.arange(NPIX)
    whole = to_nest(sky)
    monkeypatch.setattr("cmbinpaint.sphere.maps._REORDER_CHUNK", 100)
    np.testing.assert_array_equal(to_nest(sky), whole)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 999),
    out=st.sampled_from([1, 2, 4, 8, 16]),
    fraction=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
def test_degrade_agrees_with_ud_grade_and_reads_no_holes(seed: int, out: int, fraction: float) -> None:
    rng = np.random.default_rng(seed)
    sky, valid = rng.normal(size=NPIX), rng.random(NPIX) < 0.6
    holed = np.where(valid, sky, np.nan)
    values, known = degrade(holed, valid, out, fraction)
    # Oracle: healpy averages the seen children; its own count of them comes from the mask's mean.
    seen = hp.ud_grade(np.where(valid, sky, hp.UNSEEN), out)
    share = hp.ud_grade(valid.astype(float), out)
    expected = (share > 0) & (share >= fraction - 1e-12)
    np.testing.assert_array_equal(known, expected)
    np.testing.assert_allclose(values[known], seen[known], rtol=1e-12)
    assert np.all(values[~known] == 0.0)


def test_degrade_refuses_contradictions() -> None:
    with pytest.raises(MapError, match="must have the same shape"):
        degrade(np.ones(NPIX), np.ones(12, bool), 4)
    with pytest.raises(MapError, match=r"min_fraction \(2\) within 0 and 1"):
        degrade(np.ones(NPIX), np.ones(NPIX, bool), 4, 2)


def test_maps_of_a_list_fit_together() -> None:
    with pytest.raises(MapError, match="the maps of a list do not fit together"):
        validate_map([np.ones(48) * u.K, np.ones(12) * u.K], polarized=True)


def test_arrays_of_another_resolution_are_no_map() -> None:
    taken = validate_map(np.ones(48))
    with pytest.raises(MapError, match=r"values has shape \(12,\); nside 2 needs \(48,\)"):
        replace(taken, values=np.ones(12))
