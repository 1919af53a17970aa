"""The user's own simulations: used as they are, by index, in the map's unit and ordering; refused if they cannot be."""

from typing import Any

import healpy as hp
import numpy as np
import pytest
from astropy import units as u

from cmbinpaint import Draws, inpaint_map
from cmbinpaint.errors import CmbInpaintError, MapError
from cmbinpaint.pipeline.filler import draw_observation, realization_rng
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.sky_model import SkyModel

NSIDE, NPIX = 16, 3072
NOISE = 5.0


def spectrum() -> np.ndarray:
    ell = np.arange(48)
    return np.where(ell < 2, 0.0, 2e5 / (1.0 + ell) ** 3)


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    observed = np.ones(NPIX, bool)
    observed[hp.query_disc(NSIDE, hp.ang2vec(1.0, 0.3), 0.2)] = False
    observed[[7, 1000, 2500]] = False
    return observed


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    return simulate_sky(spectrum(), NSIDE, noise_std=NOISE, seed=3)


@pytest.fixture(scope="module")
def model() -> SkyModel:
    return SkyModel.from_theory(spectrum(), NSIDE, noise_std=NOISE)


@pytest.fixture(scope="module")
def drawn(model: SkyModel) -> np.ndarray:
    """What seed 5 draws, as a user's own simulations."""
    return np.stack([sum(draw_observation(model, realization_rng(5, i))) for i in range(4)])


def fill(sky: Any, mask: Any, sky_model: SkyModel, **options: Any) -> Any:
    return inpaint_map(sky, mask, **{"model": "kriging", "sky_model": sky_model, **options})


@pytest.mark.parametrize("name", ["kriging", "gaussian", "diffusive"])
def test_given_ones_replace_drawn_ones(name: str, sky, mask, model, drawn) -> None:
    expected = fill(sky, mask, model, seed=5, n_realizations=3, model=name)
    options = {"n_realizations": 3, "model": name}
    filled, info = fill(sky, mask, model, draws=Draws(fluctuations=drawn), return_info=True, **options)
    np.testing.assert_allclose(filled, expected, atol=1e-8, rtol=0)  # rounding
    assert info.fluctuations == "given" and info.seed is None


@pytest.mark.parametrize("how", ["array", "list", "generator", "function", "quantities"])
def test_realization_i_uses_fluctuation_i(how: str, sky, mask, model, drawn) -> None:
    given = {
        "array": drawn,
        "list": list(drawn),
        "generator": (o for o in drawn),
        "function": lambda i: drawn[i],
        "quantities": u.Quantity(drawn, u.uK),
    }[how]
    later = fill(sky, mask, model, draws=Draws(first=2, fluctuations=given), n_realizations=2)
    expected = fill(sky, mask, model, seed=5, n_realizations=4)[2:]
    np.testing.assert_allclose(later, expected, atol=1e-9, rtol=0)


def test_unit_and_ordering_are_those_of_the_map(sky, mask, model, drawn) -> None:
    expected = fill(sky, mask, model, draws=Draws(fluctuations=drawn))
    nest = hp.nest2ring(NSIDE, np.arange(NPIX))
    options: dict[str, Any] = {"nest": True, "unit": "K"}
    filled = fill(
        sky[nest] * 1e-6, mask[nest], model, draws=Draws(fluctuations=drawn[:, nest] * 1e-6), **options
    )
    np.testing.assert_allclose(filled * 1e6, expected[nest], atol=1e-8, rtol=0)
    # A Quantity says its own unit.
    filled = fill(
        sky[nest] * 1e-6,
        mask[nest],
        model,
        draws=Draws(fluctuations=u.Quantity(drawn[:, nest], u.uK)),
        **options,
    )
    np.testing.assert_allclose(filled * 1e6, expected[nest], atol=1e-8, rtol=0)


def test_coloured_noise_of_the_users_own_comes_back(sky, mask, model, drawn) -> None:
    """What the sky model cannot say: noise ten times stronger under one hole."""
    under = ~mask
    stronger = drawn + 100 * under * np.random.default_rng(0).standard_normal((4, NPIX))
    one, other = (fill(sky, mask, model, draws=Draws(fluctuations=f)) for f in (stronger, drawn))
    difference = one - other
    np.testing.assert_allclose(difference, (stronger - drawn)[0] * under, atol=1e-9, rtol=0)


def test_a_constant_in_a_simulation_is_not_carried_over(sky, mask, model, drawn) -> None:
    shifted = fill(sky, mask, model, draws=Draws(fluctuations=drawn[0] + 1e4))
    np.testing.assert_allclose(
        shifted, fill(sky, mask, model, draws=Draws(fluctuations=drawn[0])), atol=1e-6, rtol=0
    )


def broken(drawn: np.ndarray, value: float) -> np.ndarray:
    out = drawn.copy()
    out[1, [3, 70]] = value
    return out


def test_what_cannot_be_used_is_refused(sky, mask, model, drawn) -> None:
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (MapError, r"shape \(4, 48\); expected \(n, 3072\): one full-sky observation of nside 16",
         {"fluctuations": np.zeros((4, 48))}),
        (MapError, r"shape \(48,\); expected", {"fluctuations": np.zeros(48)}),
        (MapError, "fluctuation 0 has nside 8, the map 16", {"fluctuations": [np.zeros(768)]}),
        (MapError, "fluctuation 0: .* not a HEALPix map", {"fluctuations": [np.zeros(7)]}),
        (MapError, "4 fluctuations were given and 5 are needed", {"fluctuations": drawn, "n_realizations": 5}),
        (MapError, "4 fluctuations were given and 5 are needed",
         {"fluctuations": (o for o in drawn), "n_realizations": 5}),
        (MapError, "4 fluctuations were given and 6 are needed",
         {"fluctuations": list(drawn), "n_realizations": 2, "first": 4}),
        (MapError, "fluctuation 1 holds 2 pixels that are NaN",
         {"fluctuations": broken(drawn, np.nan), "n_realizations": 2}),
        (MapError, "fluctuation 1 holds 2 pixels", {"fluctuations": broken(drawn, np.inf), "n_realizations": 2}),
        (MapError, "fluctuation 1 holds 2 pixels",
         {"fluctuations": broken(drawn, hp.UNSEEN), "n_realizations": 2}),
        (CmbInpaintError, "fluctuations is a float; give an array", {"fluctuations": 3.0}),
        (CmbInpaintError, "fluctuations is a str; give an array", {"fluctuations": "sims.npy"}),
        (CmbInpaintError, "which adds none; use fill='realization'",
         {"fluctuations": drawn, "fill": "prediction"}),
        (CmbInpaintError, "the noise would be needed apart", {"fluctuations": drawn, "with_noise": False}),
        (CmbInpaintError, "and fluctuations were given too; give one of them", {"fluctuations": drawn, "seed": 1}),
    ]  # fmt: skip
    for kind, text, options in cases:
        with pytest.raises(kind, match=text):
            of_draws = {k: options.pop(k) for k in ("fluctuations", "first", "with_noise") if k in options}
            fill(sky, mask, model, draws=Draws(**of_draws), **options)


def test_an_iterable_is_asked_in_order(sky, mask, drawn) -> None:
    from cmbinpaint.pipeline.fluctuations import Fluctuations
    from cmbinpaint.sphere.maps import validate_map

    given = Fluctuations(iter(drawn), sky=validate_map(sky), work_unit=None, flip=False, first=0, total=2)
    np.testing.assert_array_equal(given(0), drawn[0])
    with pytest.raises(CmbInpaintError, match="fluctuation 2 was asked for after 0"):
        given(2)
