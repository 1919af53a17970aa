"""The comparison of spectra: exact where maps are equal, right on average where they are cut."""

import astropy.units as u
import healpy as hp
import numpy as np
import pytest

from cmbinpaint.errors import CmbInpaintWarning, MapError, MaskError, SpectrumError
from cmbinpaint.pipeline.compare_spectra import compare_spectra
from cmbinpaint.sims import fiducial_spectra, simulate_sky
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.spectra.mode_coupling import master
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.windows import gaussian_beam

NSIDE, LMAX = 16, 32


def sky_of(seed, lmax=LMAX):
    rng = np.random.default_rng(seed)
    ell, m = hp.Alm.getlm(lmax)
    alm = (rng.normal(size=ell.size) + 1j * rng.normal(size=ell.size)) / np.sqrt(2)
    alm[m == 0] = rng.normal(size=lmax + 1)
    return hp.alm2map(np.where(ell > 1, alm, 0) / np.sqrt(np.maximum(ell * (ell + 1.0), 1)), NSIDE, lmax=lmax)


SKY, VALID = sky_of(0), masks.planck_like_mask(NSIDE)


def test_a_map_equals_itself():
    result = compare_spectra(SKY, target=SKY, lmax=LMAX)
    np.testing.assert_array_equal(result.transfer, 1)
    np.testing.assert_array_equal(result.residual, 0)
    # The sky has no monopole and dipole: what is there is rounding of the others, 1e-16 of the largest.
    np.testing.assert_allclose(result.filled_cl, hp.anafast(SKY, lmax=LMAX), rtol=1e-11, atol=1e-17)
    assert result.observed is None and result.fsky is None and result.bands.lmax == LMAX


def test_transfer_and_residual_are_those_of_the_spectra():
    result = compare_spectra(2 * SKY, target=SKY, lmax=LMAX, bins=[2, 5, 33])
    np.testing.assert_allclose(result.transfer, 4, rtol=1e-12)
    np.testing.assert_allclose(result.residual, 3 * result.target, rtol=1e-12)
    cl, weights = hp.anafast(SKY, lmax=LMAX), 2 * np.arange(5) + 1.0
    assert result.target[0] == pytest.approx(np.sum(weights[2:5] * cl[2:5]) / weights[2:].sum())
    expected = np.sqrt(2 * np.sum(weights[2:5] * cl[2:5] ** 2)) / weights[2:].sum()
    assert result.cosmic_std[0] == pytest.approx(expected)


def test_cosmic_std_is_the_scatter_of_skies():
    bands = Bandpowers([2, 6, 16, 33])
    powers = [bands.bin(hp.anafast(sky_of(seed), lmax=LMAX)) for seed in range(150)]
    stated = np.median(
        [compare_spectra(sky_of(s), lmax=LMAX, bins=bands).cosmic_std for s in range(9)], axis=0
    )
    # A standard deviation from 150 skies is known to 6 %, one sky's estimate of it scatters as the sky does.
    np.testing.assert_allclose(stated, np.std(powers, axis=0), rtol=0.3)


def test_the_observed_part_alone_gives_the_full_skys_spectrum():
    bands = Bandpowers([2, 8, 16, 33])
    results = [compare_spectra(sky_of(s), mask=VALID, lmax=LMAX, bins=bands) for s in range(40)]
    full = np.mean([r.filled for r in results], axis=0)
    decoupled = np.array([r.observed for r in results])
    error = np.std(decoupled, axis=0) / np.sqrt(len(results))
    assert np.all(np.abs(decoupled.mean(axis=0) - full) < 4 * error)
    # The scatter is what is stated, to the accuracy of 40 skies.
    stated = np.mean([r.observed_std for r in results], axis=0)
    assert np.all(np.abs(np.std(decoupled, axis=0) / stated - 1) < 0.5)
    assert results[0].fsky == pytest.approx(VALID.mean())


def test_observed_and_mask_take_the_forms_users_have():
    holes = np.where(VALID, SKY, hp.UNSEEN)
    by_holes = compare_spectra(SKY, observed=holes, lmax=LMAX)
    by_mask = compare_spectra(SKY, mask=VALID, lmax=LMAX)
    np.testing.assert_allclose(by_holes.observed, by_mask.observed, rtol=1e-12)
    weights = masks.apodize(VALID, 5.0)
    soft = compare_spectra(SKY, observed=holes, mask=weights, lmax=LMAX)
    nested = compare_spectra(
        hp.reorder(SKY, r2n=True), observed=hp.reorder(np.where(VALID, SKY, hp.UNSEEN), r2n=True),
        mask=hp.reorder(weights, r2n=True), lmax=LMAX, nest=True,
    )  # fmt: skip
    np.testing.assert_allclose(nested.observed, soft.observed, rtol=1e-9)
    np.testing.assert_allclose(nested.filled, soft.filled, rtol=1e-12)
    assert soft.fsky == pytest.approx(weights.mean())


def test_apodize_makes_the_weights() -> None:
    by_hand = compare_spectra(SKY, mask=masks.apodize(VALID, 8.0, "C1"), lmax=LMAX)
    made = compare_spectra(SKY, mask=VALID, lmax=LMAX, apodize=8)
    np.testing.assert_array_equal(made.observed, by_hand.observed)
    np.testing.assert_array_equal(made.filled, compare_spectra(SKY, mask=VALID, lmax=LMAX).filled)
    other = compare_spectra(SKY, mask=VALID, lmax=LMAX, apodize=(8.0, "C2"))
    assert other.fsky == pytest.approx(masks.apodize(VALID, 8.0, "C2").mean())
    with pytest.raises(MaskError, match="apodize= is for the observed part of the sky, and none was given"):
        compare_spectra(SKY, lmax=LMAX, apodize=8)
    few = np.zeros(VALID.size, bool)
    few[100] = True
    with pytest.raises(MaskError, match="the taper of an apodization is C1 or C2"):
        compare_spectra(SKY, mask=VALID, lmax=LMAX, apodize=(8.0, "cosine"))


def test_apodizing_narrows_what_e_leaks_into_b() -> None:
    """T and polarization by masks of their own; decoupled B of E-only skies scatters less behind a soft edge."""
    cl = fiducial_spectra(47) * np.array([[1], [1], [0], [1]])
    latitude = np.abs(hp.pix2ang(16, np.arange(12 * 16**2), lonlat=True)[1])
    both = np.array([latitude > 10, latitude > 20])
    bands = Bandpowers([2, 10, 20, 32])
    scatter = []
    for apodize in (None, 12.0):
        found = [
            compare_spectra(simulate_sky(cl, 16, seed=seed), mask=both, bins=bands, lmax=32, apodize=apodize)[
                "BB"
            ]
            for seed in range(8)
        ]
        scatter.append(np.std([one.observed for one in found], axis=0))
    assert np.all(scatter[1][1:] < 0.7 * scatter[0][1:])
    soft = compare_spectra(simulate_sky(cl, 16, seed=0), mask=both, bins=bands, lmax=32, apodize=12.0)
    assert soft["TT"].fsky == pytest.approx(masks.apodize(both[0], 12.0, "C1").mean())
    assert soft["BB"].fsky == pytest.approx(masks.apodize(both[1], 12.0, "C1").mean())


def test_maps_in_other_units_are_compared_in_the_filled_map_s():
    result = compare_spectra(
        SKY * 1e-6 * u.K, target=SKY * u.uK, observed=SKY * 1e-3 * u.mK, mask=VALID, lmax=LMAX
    )
    np.testing.assert_allclose(result.transfer, 1, rtol=1e-9)
    plain = compare_spectra(SKY, mask=VALID, lmax=LMAX)
    np.testing.assert_allclose(result.observed, plain.observed * 1e-12, rtol=1e-9)
    assert result.unit == "K_CMB"


def test_the_beam_is_divided_out_and_stated():
    beam = gaussian_beam(np.radians(6), LMAX)
    smooth = hp.smoothing(SKY, fwhm=np.radians(6), lmax=LMAX, iter=10)
    plain = compare_spectra(SKY, mask=VALID, lmax=20)
    divided = compare_spectra(smooth, target=smooth, mask=VALID, lmax=20, beam=beam)
    np.testing.assert_allclose(divided.filled, plain.filled, rtol=1e-3)
    np.testing.assert_allclose(divided.observed[5:], plain.observed[5:], rtol=0.3)
    assert divided.beam_divided and "divided by the beam given" in divided.statement
    assert "beam and pixel window in" in plain.statement
    short = compare_spectra(SKY, beam=gaussian_beam(np.radians(30), 47))
    assert short.lmax < 20


def test_the_table_says_what_the_numbers_say():
    result = compare_spectra(1.1 * SKY, target=SKY, mask=VALID, lmax=LMAX, bins=[2, 10, 33])
    table = result.table()
    assert table.columns == (
        "ell_min", "ell_max", "filled", "target", "observed", "observed_over_fsky", "cosmic_std",
        "observed_std", "transfer", "sigmas",
    )  # fmt: skip
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert (row["ell_min"], row["ell_max"]) == (2, 9)
    center = result.bands.centers[0]
    assert row["target"] == pytest.approx(result.target[0] * center * (center + 1) / (2 * np.pi))
    assert row["transfer"] == pytest.approx(1.21)
    lines = table.text.splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines[:3]}) == 1
    assert "1.210" in lines[1] and "the maps' unit squared (none was given)" in lines[3]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"target": np.full(12 * NSIDE**2, np.nan)},
            MapError,
            "the target has 3072 pixels that are NaN, UNSEEN",
        ),
        ({"target": np.ones(12)}, MapError, "the target has nside 1, the filled map nside 16"),
        ({"mask": np.ones(12)}, MaskError, "the mask has nside 1, the map nside 16"),
        ({"mask": np.zeros(12 * NSIDE**2)}, MaskError, "no pixel that is known and has weight"),
        ({"bins": [2, 100]}, SpectrumError, "the bands reach ell = 99, the spectra end at lmax = 47"),
        ({"lmax": 1000}, SpectrumError, "lmax must be 2 to 64 at nside 16; got 1000"),
        ({"beam": np.ones(9), "lmax": 20}, SpectrumError, "the beam is known to ell = 8"),
        ({"beam": [np.nan]}, SpectrumError, "beam must be finite b_ell"),
        ({"mask": VALID, "bins": [2, 3, 9]}, SpectrumError, "bands must be|the least is 1/fsky"),
    ],
)
def test_what_cannot_be_compared_is_refused(options, error, text):
    with pytest.raises(error, match=text):
        compare_spectra(SKY, **options)


def test_holes_in_the_inpainted_map_are_refused():
    with pytest.raises(MapError, match=r"the filled map has .* fill it with inpaint_map"):
        compare_spectra(np.where(VALID, SKY, hp.UNSEEN))


class TestPolarization:
    """T, Q, U: six spectra, each as one of T is."""

    CL = fiducial_spectra(LMAX) + np.array([0, 0, 1e-4, 0])[:, None]
    IQU = simulate_sky(CL, NSIDE, lmax=LMAX, seed=1)
    MASKS = np.stack([VALID, np.abs(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))[2]) > 0.3])

    def test_full_sky_spectra_are_healpys_with_their_cosmic_scatter(self) -> None:
        bands = Bandpowers([2, 8, 16, 33])
        found = compare_spectra(self.IQU, target=1.1 * self.IQU, lmax=LMAX, bins=bands)
        cl = dict(zip(("TT", "EE", "BB", "TE", "EB", "TB"), hp.anafast(self.IQU, lmax=LMAX), strict=True))
        assert list(found) == list(cl)
        for name, result in found.items():
            scale = np.sqrt(bands.bin(cl[name[0] * 2]) * bands.bin(cl[name[1] * 2]))
            np.testing.assert_allclose(result.filled / scale, bands.bin(cl[name]) / scale, atol=1e-9)
            np.testing.assert_allclose(result.target / scale, 1.21 * bands.bin(cl[name]) / scale, atol=1e-9)
            expected = bands.bin(cl[name[0] * 2] * cl[name[1] * 2] + cl[name] ** 2) / bands.n_modes
            np.testing.assert_allclose(result.cosmic_std, 1.21 * np.sqrt(expected), rtol=1e-6)
            assert result.name == name and result.observed is None
            if name[0] == name[1]:
                np.testing.assert_allclose(result.transfer, 1 / 1.21, rtol=1e-9)
            else:
                assert result.transfer is None
        assert "transfer" not in found["TE"].table().columns and "sigmas" in found["TE"].table().columns
        polarization = compare_spectra(self.IQU[1:], lmax=LMAX, bins=bands)
        np.testing.assert_allclose(polarization["EE"].filled, found["EE"].filled, rtol=1e-9)
        assert list(polarization) == ["EE", "BB", "EB"]

    def test_the_observed_part_is_masters_and_holes_are_not_read(self) -> None:
        bands = Bandpowers([2, 8, 16, 33])
        holes = np.where(self.MASKS[[0, 1, 1]], self.IQU, hp.UNSEEN)
        found = compare_spectra(self.IQU, observed=holes, lmax=LMAX, bins=bands)
        same = compare_spectra(self.IQU, mask=self.MASKS, lmax=LMAX, bins=bands)
        expected = master(self.IQU, self.MASKS, bands, 47)
        for name, row in zip(found, expected, strict=True):
            np.testing.assert_array_equal(found[name].observed, row)
            np.testing.assert_array_equal(same[name].observed, row)
        assert found["TT"].fsky == self.MASKS[0].mean() and found["BB"].fsky == self.MASKS[1].mean()

    def test_a_beam_of_each(self) -> None:
        beam = np.stack([gaussian_beam(0.1, LMAX), gaussian_beam(0.2, LMAX, spin=2)])
        plain = compare_spectra(self.IQU, lmax=20)
        found = compare_spectra(self.IQU, lmax=20, beam=beam)
        for name, (i, j) in {"TT": (0, 0), "TE": (0, 1), "BB": (1, 1)}.items():
            np.testing.assert_allclose(
                found[name].filled_cl[2:] * (beam[i] * beam[j])[2:21], plain[name].filled_cl[2:], rtol=1e-12
            )

    def test_other_stokes_parameters_are_refused(self) -> None:
        with pytest.raises(MapError, match="the target is of T, the filled map of T, Q, U"):
            compare_spectra(self.IQU, target=SKY)


def test_an_inverted_mask_is_noticed():
    with pytest.warns(CmbInpaintWarning, match="is the mask inverted"):
        compare_spectra(SKY, observed=SKY, mask=~VALID, lmax=LMAX, bins=[2, 16, 33])
    compare_spectra(SKY, observed=np.where(VALID, hp.UNSEEN, SKY), mask=~VALID, lmax=LMAX, bins=[2, 16, 33])
    compare_spectra(SKY, mask=~VALID, lmax=LMAX, bins=[2, 16, 33])  # filled, it has a sky everywhere
