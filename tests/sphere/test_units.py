"""The units table: every spelling of the field, and refusals that say what to do."""

from typing import Any

import astropy.units as u
import pytest

from cmbinpaint.errors import UnitsError
from cmbinpaint.sphere.units import (
    agree,
    parse_power_unit,
    parse_unit,
    power_factor,
    quantity_unit,
    unit_factor,
    validate_unit,
)

SPELLINGS = {
    "K_CMB": [
        "K", "K_CMB", "Kcmb", "K_cmb", "KCMB", "K(CMB)", "K (CMB)", "Kelvin", "kelvin", "K,thermodynamic",
        " K_CMB ", "K CMB", "K_{CMB}", "[K_CMB]", "K_thermo", "'K_CMB'",
    ],
    "mK_CMB": ["mK", "mK_CMB", "mKcmb", "mK,thermodynamic", "mK(CMB)", "mK thermodynamic", "milliK"],
    "uK_CMB": [
        "uK", "uK_CMB", "muK", "muK_CMB", "µK", "μK", "µK_CMB", "uK_cmb", "uKcmb", "uK(CMB)", "microK", "UK",
        "uK,thermodynamic", "$\\mu$K", "microkelvin", "MicroKelvin",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("unit", "text"), [(unit, t) for unit, texts in SPELLINGS.items() for t in texts])
def test_every_spelling_is_read(unit: str, text: str) -> None:
    assert parse_unit(text) == unit


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("K_RJ", "Rayleigh-Jeans"),
        ("uK_RJ", "Rayleigh-Jeans"),
        ("K,antenna", "Rayleigh-Jeans"),
        ("MJy/sr", "brightness"),
        ("Jy/beam", "brightness"),
        ("K_CMB^2", "variance"),
        ("(K_CMB)**2", "variance"),
        ("counts", "unknown"),
        ("MK", "unknown"),
        ("nK", "unknown"),
        ("unknown", "unknown"),
        ("", "unknown"),
    ],
)
def test_other_units_are_refused_with_the_known_ones_listed(text: str, says: str) -> None:
    with pytest.raises(UnitsError) as caught:
        parse_unit(text)
    assert says in str(caught.value)
    assert repr(text) in str(caught.value)
    assert "K, mK, uK (µK, muK)" in str(caught.value)


def test_a_unit_is_a_text() -> None:
    with pytest.raises(UnitsError, match=r"a unit is a text, got float 1\.0"):
        parse_unit(1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("one", ["K", "mK", "uK"])
@pytest.mark.parametrize("other", ["K", "mK", "uK"])
def test_factors_agree_with_astropy(one: str, other: str) -> None:
    assert unit_factor(one, other) == pytest.approx(u.Unit(one).to(u.Unit(other)), rel=1e-15)


def test_quantities_of_other_units_keep_theirs() -> None:
    assert [quantity_unit(unit) for unit in (u.K, u.mK, u.uK)] == ["K_CMB", "mK_CMB", "uK_CMB"]
    assert quantity_unit(u.Unit("1000 uK")) == "mK_CMB"
    assert [quantity_unit(unit) for unit in (u.MJy / u.sr, u.nK)] == ["MJy / sr", "nK"]
    assert quantity_unit(u.dimensionless_unscaled) == "dimensionless"


@pytest.mark.parametrize("text", ["MJy/sr", "K_RJ", "uK_RJ", "Jy/beam", "nK", "count"])
def test_other_units_are_kept_as_declared_and_never_converted(text: str) -> None:
    assert validate_unit(f" {text} ") == text
    assert unit_factor(text, text) == 1.0
    with pytest.raises(UnitsError, match=r"[Kk]nown: K, mK"):
        unit_factor(text, "uK")


@pytest.mark.parametrize("text", ["uKk", "kelvins?", "", "unknown", 3.0])
def test_what_is_no_unit_is_refused_with_the_known_ones(text: Any) -> None:
    with pytest.raises(UnitsError, match="known: K, mK, uK"):
        validate_unit(text)


POWERS = {
    "uK_CMB": [
        "uK^2",
        "µK²",
        "muK^2",
        "(muK)**2",
        "uK_CMB^2",
        "[microK]^2",
        "microkelvin^2",
        "$\\mu K^2$",
        "uK2",
    ],
    "mK_CMB": ["mK^2", "mK²", "(milliK)^2"],
    "K_CMB": ["K^2", "K_CMB^2", "(K_CMB)^2", "K2", "Kelvin squared"],
    "dimensionless": ["dimensionless", "Dimensionless"],
}


@pytest.mark.parametrize(("unit", "text"), [(unit, t) for unit, texts in POWERS.items() for t in texts])
def test_units_of_spectra_in_every_spelling(unit: str, text: str) -> None:
    assert parse_power_unit(text) == unit


@pytest.mark.parametrize("text", ["uK", "k^2", "Mpc^2", "MJy^2", "nK^2", "", "K^2 or uK^2", None])
def test_what_is_no_unit_of_a_spectrum_is_refused(text: Any) -> None:
    with pytest.raises(UnitsError, match=r"is not a unit of a power spectrum; known: the square of K, mK"):
        parse_power_unit(text)


def test_spectra_are_converted_by_the_square() -> None:
    assert power_factor("K_CMB") == pytest.approx(1e12, rel=1e-14)
    assert power_factor("mK_CMB") == pytest.approx(1e6, rel=1e-14)
    assert power_factor("uK_CMB") == 1.0
    assert power_factor("dimensionless") == pytest.approx(2.7255e6**2, rel=1e-14)


def test_a_declaration_never_converts() -> None:
    assert agree(None, None, what="the map") is None
    assert agree("muK", None, what="the map") == "uK_CMB"
    assert agree("muK", "uK_CMB", what="the map") == "uK_CMB"
    with pytest.raises(
        UnitsError, match=r"unit='K' was declared, but the map is in uK_CMB; unit= never converts"
    ):
        agree("K", "uK_CMB", what="the map")
