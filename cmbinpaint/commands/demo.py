"""`cmbinpaint demo`: a sky whose truth is known, through the real `cmbinpaint inpaint`, checked by its spectrum.

Inputs: a folder. Outputs: truth, sky with holes and filled skies as FITS, pictures, a table.

The sky is what Planck's users have: K_CMB, NESTED, columns I_STOKES and TMASK. `inpaint` is given neither spectrum,
beam nor noise. What it wrote is compared with the full-sky observation (signal, beam and noise, the very same draw),
which it never saw. Where the network extra is installed, CoMBInE's network fills the same sky.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint._files import write_whole
from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _demo_polarization as polarization
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.commands._demo_polarization import deepest_direction
from cmbinpaint.commands._series import realization_paths
from cmbinpaint.errors import CmbInpaintError

if TYPE_CHECKING:
    from cmbinpaint._types import BoolArray, FloatArray
    from cmbinpaint.pipeline.spectra_comparison import SpectraComparison

NOISE_UK = 3.0
BEAM_PIXELS = 3.0
REALIZATIONS = 8
BANDS = 15
NETWORK = "combine128"
NETWORK_NSIDES = (128, 2048)


def files(network: bool) -> dict[str, str]:
    """Names of what is written, in order, with what each is."""
    filled = f"{REALIZATIONS} realizations by the default, whose observed pixels are those of the sky"
    made = {
        "truth.fits": "the whole observation, which `inpaint` never saw",
        "sky.fits": "the same with holes: NESTED, K_CMB, columns I_STOKES and TMASK",
        **{
            path.name: filled for path in realization_paths(Path("filled.fits"), range(REALIZATIONS)).values()
        },
        f"{NETWORK}.fits": "the same sky filled by CoMBInE's network alone",
        "before.png": "the sky with holes",
        "after.png": "the filled sky",
        "patch.png": "a region: with holes, filled, and the truth",
        "spectra.png": "D_ell before and after, differences, cosmic variance",
        "spectra.csv": "the numbers of that figure",
    }
    return {name: what for name, what in made.items() if network or name != f"{NETWORK}.fits"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `demo`."""
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, default=Path("demo"), help="default: demo"
    )
    parser.add_argument(
        "--fields", choices=["T", "TQU"], default="T", help="T (default), or polarization too"
    )
    parser.add_argument("--nside", metavar="N", type=common.positive_int,
        help="default 128, with --fields TQU 64")  # fmt: skip
    parser.add_argument(
        "--seed", metavar="S", type=common.natural, default=2024, help="of the sky; default 2024"
    )
    parser.add_argument("--model", metavar="M", default="default", help="see `cmbinpaint models`")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of an earlier demo")


def run(args: argparse.Namespace) -> int:
    """Simulate, fill, compare, draw."""
    from cmbinpaint.sphere.maps import validate_nside

    folder: Path = args.output
    args.nside = validate_nside(args.nside or (64 if args.fields == "TQU" else 128))
    if args.fields == "TQU" and args.model != "default":
        raise CmbInpaintError(
            f"--model {args.model} is for temperature; T, Q, U are filled by the exact answer"
        )
    outputs.make_folder(folder)
    if args.fields == "TQU":
        return polarization.run(args, _fwhm_arcmin(args.nside))
    network = _has_network(args)
    made = files(network)
    outputs.refuse_outputs(args, [folder / name for name in made], overwrite=args.overwrite)
    with _step("simulate a sky: Planck 2018's spectrum, beam, white noise, a Planck-like mask"):
        sky = _simulate(args)
        _write_skies(args, sky)
    ways = [("filled.fits", ["--model", args.model, "--realizations", str(REALIZATIONS)])]
    ways += [(f"{NETWORK}.fits", ["--model", NETWORK, "--refine", "0"])] if network else []
    for name, options in ways:
        command = ["inpaint", str(folder / "sky.fits"), "--field", "I_STOKES", "--mask-field", "TMASK"]
        command += ["-o", str(folder / name), *options, "--seed", "1"]
        command += ["--overwrite"] if args.overwrite else []
        print(f"$ {common.command_line(command)}", flush=True)
        with _step("fill its holes"):
            code = args.invoke(command)
        if code:
            return int(code)
    with _step("power spectra with anafast, before and after"):
        result = _compare(folder, sky, network)
    with _step("draw"):
        _draw(folder, sky, result)
    write_whole(folder / "spectra.csv", result.csv())
    print(f"\n{result.table()}\n\nfiles in {folder.resolve()}:")
    said = ""
    for name, what in made.items():
        print(f"  {name:<18}{what if what != said else 'the same'}")
        said = what
    return 0


def _has_network(args: argparse.Namespace) -> bool:
    """Whether CoMBInE's network fills the sky too; says what it would take if not."""
    low, high = NETWORK_NSIDES
    if args.model != "default":
        return False
    if not low <= args.nside <= high:
        print(f"CoMBInE's network fills maps of nside {low} to {high}: this demo shows the default alone")
        return False
    if not all(find_spec(name) for name in ("torch", "safetensors")):
        print("this demo shows the default alone; CoMBInE's network needs pip install 'cmbinpaint[network]'")
        return False
    return True


def _fwhm_arcmin(nside: int) -> float:
    """The beam."""
    import numpy as np

    from cmbinpaint.sphere.pixels import pixel_size

    return 60 * float(np.degrees(BEAM_PIXELS * pixel_size(nside)))


@dataclass(frozen=True, eq=False)
class _Sky:
    """The simulated observation: (npix,) µK and bool, RING."""

    nside: int
    fwhm_arcmin: float
    truth: "FloatArray"
    valid: "BoolArray"


@dataclass(frozen=True, eq=False)
class _Result:
    """Spectra of the first realization beside the truth, and of what else was filled.

    Attributes
    ----------
    spectra
        Of the first realization, the truth and the observed part.
    scatter
        (n,) C_ell: standard deviation over realizations of the same data.
    network
        (n,) C_ell of the sky that the network filled, or None.
    skies
        Filled maps in µK by name.
    n_changed
        Observed pixels that differ from the sky's, of all filled maps.
    """

    spectra: "SpectraComparison"
    scatter: "FloatArray"
    network: "FloatArray | None"
    skies: dict[str, "FloatArray"]
    n_changed: int

    @property
    def shares(self) -> dict[str, "FloatArray"]:
        """Columns of the table: name to (n,) percent of the true power."""
        at = self.spectra
        assert at.target is not None and at.observed is not None and at.observed_std is not None
        columns = {
            "decoupled": 100 * (at.observed / at.target - 1),
            "+-": 100 * at.observed_std / at.target,
            "filled": 100 * (at.filled / at.target - 1),
            "scatter": 100 * self.scatter / at.target,
        }
        if self.network is not None:
            columns[NETWORK] = 100 * (self.network / at.target - 1)
        return columns | {"cosmic": 100 * at.cosmic_std / at.target}

    def table(self) -> str:
        """The table for the terminal, one line a band."""
        bands, shares = self.spectra.bands, self.shares
        lines = [f"{'ell':>10}{'truth [uK2]':>13}" + "".join(f"{name:>11}" for name in shares)]
        for i, dl in enumerate(self.d_ell["truth"]):
            cells = (
                f"{shares[name][i]:>{'11.1f' if name in ('+-', 'scatter', 'cosmic') else '+11.1f'}}"
                for name in shares
            )
            lines.append(f"{f'{bands.edges[i]}-{bands.edges[i + 1] - 1}':>10}{dl:>13.1f}" + "".join(cells))
        return "\n".join(
            [
                "D_ell of the map, beam, pixel window and noise in; differences from the truth in percent",
                *lines,
                "decoupled: what the observed part alone says (MASTER), +- its own cosmic variance",
                f"filled:    anafast of one filled map, off by chance as far as {REALIZATIONS} realizations scatter",
                "cosmic:    cosmic variance of a full sky",
                f"observed pixels changed by the filling: {self.n_changed}",
            ]
        )

    @property
    def d_ell(self) -> dict[str, "FloatArray"]:
        """D_ell by name, µK²."""
        import numpy as np

        at = self.spectra
        factor = at.bands.centers * (at.bands.centers + 1) / (2 * np.pi)
        found = {"truth": at.target, "decoupled": at.observed, "filled": at.filled, NETWORK: self.network}
        return {name: factor * cl for name, cl in found.items() if cl is not None}

    def csv(self) -> str:
        """All bands as CSV."""
        bands, dl = self.spectra.bands, self.d_ell
        shares = {name: self.shares[name] for name in ("scatter", "cosmic")}
        names = [*(f"dl_{name}_uK2" for name in dl), *(f"{name}_percent" for name in shares)]
        rows = [",".join(["ell_min", "ell_max", *names])]
        for i in range(bands.n):
            values = [column[i] for column in (*dl.values(), *shares.values())]
            rows.append(f"{bands.edges[i]},{bands.edges[i + 1] - 1}," + ",".join(f"{v:.8g}" for v in values))
        return "\n".join(rows) + "\n"


def _simulate(args: argparse.Namespace) -> _Sky:
    import numpy as np

    from cmbinpaint.sims import fiducial_spectra, simulate_sky
    from cmbinpaint.sphere.pixels import pixel_size
    from cmbinpaint.sphere.planck_mask import planck_like_mask

    nside = args.nside
    fwhm = BEAM_PIXELS * pixel_size(nside)
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


def _compare(folder: Path, sky: _Sky, network: bool) -> _Result:
    import numpy as np

    from cmbinpaint.files import fits
    from cmbinpaint.pipeline.compare_spectra import compare_spectra
    from cmbinpaint.spectra.full_sky import anafast

    kelvin = (sky.truth * 1e-6).astype(np.float32)
    names = [path.name for path in realization_paths(folder / "filled.fits", range(REALIZATIONS)).values()]
    names += [f"{NETWORK}.fits"] if network else []
    skies, n_changed = {}, 0
    for name in names:
        stored, _ = fits.read_map(folder / name, "I_STOKES")
        n_changed += int(np.count_nonzero(stored[sky.valid] != kelvin[sky.valid]))
        skies[name] = stored.astype(np.float64) * 1e6
    first = compare_spectra(
        skies[names[0]], target=sky.truth, mask=sky.valid, lmax=3 * sky.nside // 2, bins=BANDS
    )
    power = {name: first.bands.bin(anafast(m, first.lmax)) for name, m in skies.items()}
    scatter = np.std([power[name] for name in names[:REALIZATIONS]], axis=0, ddof=1)
    return _Result(first, scatter, power.get(f"{NETWORK}.fits"), skies, n_changed)


def _draw(folder: Path, sky: _Sky, result: _Result) -> None:
    import numpy as np

    from cmbinpaint import plots

    before = np.where(sky.valid, sky.truth, np.nan)
    names = {"filled_000.fits": "default", f"{NETWORK}.fits": NETWORK}
    filled = {label: result.skies[name] for name, label in names.items() if name in result.skies}
    limit = plots.symmetric_limit(sky.truth)
    beam = f"nside {sky.nside}, beam {sky.fwhm_arcmin:.0f}', noise {NOISE_UK:g} µK per pixel"
    title = f"Observed: {100 * sky.valid.mean():.0f} % of the sky ({beam})"
    after = "Filled: observed pixels as they were, a constrained realization in the holes"
    for name, shown, text in (("before", before, title), ("after", filled["default"], after)):
        ax = plots.draw_sky(shown, unit="uK_CMB", limit=limit, title=text)
        plots.save_figure(ax, folder / f"{name}.png")
    lon, lat = deepest_direction(sky.valid)
    figure = plots.draw_before_after(
        before, filled, lon, lat, target=sky.truth, side_deg=24, unit="uK_CMB", limit=limit
    )
    plots.save_figure(figure, folder / "patch.png")
    labels = {
        "truth": "truth",
        "filled": "filled",
        NETWORK: f"filled by {NETWORK}",
        "decoupled": "observed, decoupled",
    }
    roles = {"truth": "target", "filled": "filled", NETWORK: "network", "decoupled": "observed"}
    spectra = result.d_ell
    figure = plots.draw_comparison(
        result.spectra.bands.centers,
        {labels[name]: spectra[name] for name in labels if name in spectra},
        roles={labels[name]: role for name, role in roles.items()},
        band=result.shares["cosmic"] / 100,
        title=f"Power of the full sky, from {100 * sky.valid.mean():.0f} % of it",
        note="beam, pixel window and noise included",
    )
    plots.save_figure(figure, folder / "spectra.png")


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Say what is done, then how long it took."""
    print(f"{what} ...", flush=True)
    start = time.perf_counter()
    yield
    print(f"  {time.perf_counter() - start:.1f} s", flush=True)
