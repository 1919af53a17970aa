"""`cmbinpaint demo`: a sky whose truth is known, through the real `cmbinpaint inpaint`, checked by its spectrum.

Inputs: a folder. Outputs: truth, sky with holes and filled sky as FITS, pictures, a table.

The sky is what Planck's users have: K_CMB, NESTED, columns I_STOKES and TMASK. `inpaint` is told nothing of
spectrum, beam or noise. What it wrote is compared with the full-sky observation (signal, beam and noise, the
very same draw), which it never saw.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint._files import write_whole
from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _outputs as outputs

if TYPE_CHECKING:
    from cmbinpaint._types import BoolArray, FloatArray
    from cmbinpaint.spectra.bandpowers import Bandpowers

NOISE_UK = 3.0
BEAM_PIXELS = 3.0
FILES = (
    "truth.fits",
    "sky.fits",
    "filled.fits",
    "before.png",
    "after.png",
    "patch.png",
    "spectra.png",
    "spectra.csv",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `demo`."""
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, default=Path("demo"), help="default: demo"
    )
    parser.add_argument("--nside", metavar="N", type=common.positive_int, default=256, help="default 256")
    parser.add_argument(
        "--seed", metavar="S", type=common.natural, default=2024, help="of the sky; default 2024"
    )
    parser.add_argument("--model", metavar="M", default="default", help="see `cmbinpaint models`")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of an earlier demo")


def run(args: argparse.Namespace) -> int:
    """Simulate, fill, compare, draw."""
    folder: Path = args.output
    outputs.make_folder(folder)
    outputs.refuse_outputs(args, [folder / name for name in FILES], overwrite=args.overwrite)
    with _step("simulate a sky: Planck 2018's spectrum, beam, white noise, a Planck-like mask"):
        sky = _simulate(args)
        _write_skies(args, sky)
    command = ["inpaint", str(folder / "sky.fits"), "--field", "I_STOKES", "--mask-field", "TMASK"]
    command += ["-o", str(folder / "filled.fits"), "--model", args.model, "--seed", "1"]
    command += ["--overwrite"] if args.overwrite else []
    print(f"$ {common.command_line(command)}", flush=True)
    with _step("fill its holes"):
        code = args.invoke(command)
    if code:
        return int(code)
    with _step("power spectra with anafast, before and after"):
        result = _compare(folder, sky)
    with _step("draw"):
        _draw(folder, sky, result)
    write_whole(folder / "spectra.csv", result.csv())
    print(f"\n{result.table()}\n\nfiles in {folder.resolve()}:")
    for name, what in zip(FILES, _descriptions(), strict=True):
        print(f"  {name:<14}{what}")
    return 0


@dataclass(frozen=True, eq=False)
class _Sky:
    """The simulated observation: (npix,) µK and bool, RING."""

    nside: int
    fwhm_arcmin: float
    truth: "FloatArray"
    valid: "BoolArray"


@dataclass(frozen=True, eq=False)
class _Result:
    """Bandpowers of D_ell in µK² by name, and the filled map in µK."""

    bands: "Bandpowers"
    spectra: dict[str, "FloatArray"]
    band: "FloatArray"
    filled: "FloatArray"
    n_changed: int

    def table(self) -> str:
        """Return the table for the terminal, one line for every third band."""
        percent = {name: 100 * (dl / self.spectra["truth"] - 1) for name, dl in self.spectra.items()}
        lines = [
            "D_ell of the map, beam, pixel window and noise included; differences from the truth",
            f"{'ell':>12}{'truth [µK²]':>14}{'before [%]':>13}{'filled [%]':>13}{'cosmic var. [%]':>18}",
        ]
        for i in range(0, self.bands.n, 3):
            low, high = self.bands.edges[i], self.bands.edges[i + 1] - 1
            ell = f"{low}" if low == high else f"{low}-{high}"
            lines.append(
                f"{ell:>12}{self.spectra['truth'][i]:>14.1f}{percent['before'][i]:>+13.1f}"
                f"{percent['filled'][i]:>+13.2f}{100 * self.band[i]:>18.1f}"
            )
        lines.append(f"observed pixels changed by the filling: {self.n_changed}")
        return "\n".join(lines)

    def csv(self) -> str:
        """Return all bands as CSV."""
        rows = ["ell_min,ell_max,dl_truth_uK2,dl_before_uK2,dl_filled_uK2,cosmic_variance_fraction"]
        for i in range(self.bands.n):
            values = [self.spectra[name][i] for name in ("truth", "before", "filled")] + [self.band[i]]
            edges = f"{self.bands.edges[i]},{self.bands.edges[i + 1] - 1}"
            rows.append(edges + "," + ",".join(f"{value:.8g}" for value in values))
        return "\n".join(rows) + "\n"


def _simulate(args: argparse.Namespace) -> _Sky:
    import numpy as np

    from cmbinpaint.sims import fiducial_spectra, simulate_sky
    from cmbinpaint.sphere.maps import validate_nside
    from cmbinpaint.sphere.planck_mask import planck_like_mask

    nside = validate_nside(args.nside)
    fwhm = BEAM_PIXELS * float(np.sqrt(4 * np.pi / (12 * nside**2)))
    cl = fiducial_spectra(3 * nside - 1)[0]
    truth = simulate_sky(cl, nside, fwhm=fwhm, noise_std=NOISE_UK, pixwin=True, seed=args.seed)
    # What the file holds is the truth: single precision, as Planck's.
    truth = (truth * 1e-6).astype(np.float32).astype(np.float64) * 1e6
    return _Sky(nside, float(np.degrees(fwhm)) * 60, truth, planck_like_mask(nside, seed=args.seed))


def _write_skies(args: argparse.Namespace, sky: _Sky) -> None:
    import numpy as np

    from cmbinpaint.files import fits
    from cmbinpaint.sphere.maps import UNSEEN

    cards, history = common.provenance_of(args.argv)
    cards |= {
        "SEED": args.seed,
        "FWHM": (sky.fwhm_arcmin, "[arcmin]"),
        "NOISESTD": (NOISE_UK, "[uK] per pixel"),
    }
    kelvin = (sky.truth * 1e-6).astype(np.float32)
    holes = np.where(sky.valid, kelvin, np.float32(UNSEEN))
    common_options: dict[str, Any] = {
        "ordering": "NESTED", "coord": "G", "overwrite": args.overwrite, "provenance": cards, "history": history,
    }  # fmt: skip
    fits.write_map(
        args.output / "truth.fits", {"I_STOKES": kelvin}, unit={"I_STOKES": "K_CMB"}, **common_options
    )
    fits.write_map(
        args.output / "sky.fits",
        {"I_STOKES": holes, "TMASK": sky.valid.astype(np.float32)},
        unit={"I_STOKES": "K_CMB"},
        **common_options,
    )


def _compare(folder: Path, sky: _Sky) -> _Result:
    import numpy as np

    from cmbinpaint.files import fits
    from cmbinpaint.spectra.bandpowers import log_bands
    from cmbinpaint.spectra.full_sky import anafast, dl_from_cl

    stored, _ = fits.read_map(folder / "filled.fits", "I_STOKES")
    kelvin = (sky.truth * 1e-6).astype(np.float32)
    filled = stored.astype(np.float64) * 1e6
    lmax = 2 * sky.nside
    bands = log_bands(2, lmax, 28)
    maps = {"truth": sky.truth, "filled": filled, "before": np.where(sky.valid, sky.truth, 0.0)}
    spectra = {name: bands.bin(dl_from_cl(anafast(m, lmax))) for name, m in maps.items()}
    n_changed = int(np.count_nonzero(stored[sky.valid] != kelvin[sky.valid]))
    return _Result(bands, spectra, np.sqrt(2 / bands.n_modes), filled, n_changed)


def _draw(folder: Path, sky: _Sky, result: _Result) -> None:
    import numpy as np

    from cmbinpaint import plots

    before = np.where(sky.valid, sky.truth, np.nan)
    limit = plots.symmetric_limit(sky.truth)
    beam = f"nside {sky.nside}, beam {sky.fwhm_arcmin:.0f}', noise {NOISE_UK:g} µK per pixel"
    title = f"Observed: {100 * sky.valid.mean():.0f} % of the sky ({beam})"
    for name, shown, text in (
        ("before", before, title),
        (
            "after",
            result.filled,
            "Filled: observed pixels as they were, a constrained realization in the holes",
        ),
    ):
        ax = plots.draw_sky(shown, unit="uK_CMB", limit=limit, title=text)
        plots.save_figure(ax, folder / f"{name}.png")
    lon, lat = _interesting_direction(sky)
    figure = plots.draw_before_after(
        before, result.filled, lon, lat, target=sky.truth, side_deg=24, unit="uK_CMB", limit=limit
    )
    plots.save_figure(figure, folder / "patch.png")
    names = {"truth": "truth", "filled": "filled", "before": "before, holes = 0"}
    figure = plots.draw_comparison(
        result.bands.centers,
        {names[name]: dl for name, dl in result.spectra.items()},
        roles={names["truth"]: "target", names["filled"]: "filled", names["before"]: "observed"},
        band=result.band,
        title=f"Power of the full sky, from {100 * sky.valid.mean():.0f} % of it",
        note="beam, pixel window and noise included",
    )
    plots.save_figure(figure, folder / "spectra.png")


def _interesting_direction(sky: _Sky) -> tuple[float, float]:
    """Return longitude and latitude (deg) of the deepest hole away from the Galactic band."""
    import numpy as np

    from cmbinpaint.sphere import masks
    from cmbinpaint.sphere.pixels import pixel_angles

    depth = masks.depth(sky.valid)
    theta, phi = pixel_angles(sky.nside, np.arange(depth.size))
    latitude = 90 - np.degrees(theta)
    deepest = int(np.argmax(np.where(np.abs(latitude) > 30, depth, -1.0)))
    return float(np.degrees(phi[deepest])), float(latitude[deepest])


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Say what is done, then how long it took."""
    print(f"{what} ...", flush=True)
    start = time.perf_counter()
    yield
    print(f"  {time.perf_counter() - start:.1f} s", flush=True)


def _descriptions() -> tuple[str, ...]:
    return (
        "the whole observation, which `inpaint` never saw",
        "the same with holes: NESTED, K_CMB, columns I_STOKES and TMASK",
        "what `cmbinpaint inpaint` made of it",
        "the sky with holes",
        "the filled sky",
        "a region before, after and in truth",
        "D_ell before and after, differences, cosmic variance",
        "the numbers of that figure",
    )
