"""The units table: every spelling of the field, and refusals that say what to do."""

import astropy.units as u
import pytest

from cmbinpaint.errors import UnitsError
from cmbinpaint.sphere.units import agree, parse_unit, quantity_unit, unit_factor

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


def test_quantities_must_be_temperatures() -> None:
    assert [quantity_unit(unit) for unit in (u.K, u.mK, u.uK)] == ["K_CMB", "mK_CMB", "uK_CMB"]
    assert quantity_unit(u.Unit("1000 uK")) == "mK_CMB"
    with pytest.raises(UnitsError, match=r"Quantity in 'MJy / sr'.*\.to\(astropy\.units\.uK\)"):
        quantity_unit(u.MJy / u.sr)
    for unit in (u.nK, u.deg_C, u.dimensionless_unscaled):
        with pytest.raises(UnitsError, match="K, mK or uK"):
            quantity_unit(unit)


def test_a_declaration_never_converts() -> None:
    assert agree(None, None, what="the map") is None
    assert agree("muK", None, what="the map") == "uK_CMB"
    assert agree("muK", "uK_CMB", what="the map") == "uK_CMB"
    with pytest.raises(
        UnitsError, match=r"unit='K' was declared, but the map is in uK_CMB; unit= never converts"
    ):
        agree("K", "uK_CMB", what="the map")
