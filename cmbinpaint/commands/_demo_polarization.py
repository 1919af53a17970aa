"""`cmbinpaint demo --fields TQU`: T, Q, U through the commands that a user would type, and E and B before and after.

Inputs: a folder. Outputs: truth, sky with holes and filled skies as FITS, spectra, pictures.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.commands._series import realization_paths

if TYPE_CHECKING:
    from cmbinpaint._types import BoolArray, FloatArray

NOISE_UK = "3,0.3"
REALIZATIONS = 3
BANDS = 10
SIDE_DEG = 30.0


def files() -> dict[str, str]:
    """Names of what is written, in order, with what each is."""
    filled = f"{REALIZATIONS} realizations of T, Q, U, whose observed pixels are those of the sky"
    names = [path.name for path in realization_paths(Path("filled.fits"), range(REALIZATIONS)).values()]
    return {
        "truth.fits": "the whole observation, which `inpaint` never saw",
        "sky.fits": "the same with holes",
        **dict.fromkeys(names, filled),
        "spectra.csv": "TT, EE, BB, TE, EB, TB of the first, of the truth, and of the observed part",
        "spectra.png": "the same, drawn",
        "polarization.png": "Q, U, P, E and B: with holes, filled, and the truth",
        "patch.png": "T with polarization ticks around the deepest hole at |b| > 30 deg",
    }


def run(args: argparse.Namespace, fwhm_arcmin: float) -> int:
    """Simulate, fill, compare, draw; every command is shown as a user can type it."""
    folder: Path = args.output
    outputs.refuse_outputs(args, [folder / name for name in files()], overwrite=args.overwrite)
    sky = [
        "--fields",
        "TQU",
        "--nside",
        str(args.nside),
        "--noise-std",
        NOISE_UK,
        "--pixwin",
        "--seed",
        str(args.seed),
    ]
    sky += ["--fwhm-arcmin", f"{fwhm_arcmin:.0f}"]
    first = str(next(iter(realization_paths(folder / "filled.fits", range(1)).values())))
    wanted = ["--realizations", str(REALIZATIONS), "--seed", "1"]
    compared = [
        "--lmax",
        str(3 * args.nside // 2),
        "--bins",
        str(BANDS),
        "--target",
        str(folder / "truth.fits"),
        "--observed",
        str(folder / "sky.fits"),
    ]
    for words in (
        ["simulate", *sky, "-o", str(folder / "truth.fits")],
        ["simulate", *sky, "--holes", "planck", "-o", str(folder / "sky.fits")],
        ["inpaint", str(folder / "sky.fits"), *wanted, "-o", str(folder / "filled.fits")],
        ["spectra", first, *compared, "-o", str(folder / "spectra")],
    ):
        command = words + (["--overwrite"] if args.overwrite else [])
        print(f"$ {common.command_line(command)}", flush=True)
        code = args.invoke(command)
        if code:
            return int(code)
    with common.stage("draw"):
        said = _draw(folder, Path(first))
    print(f"\n{said}\n\nfiles in {folder.resolve()}:")
    for name, what in files().items():
        print(f"  {name:<18}{what}")
    return 0


def _draw(folder: Path, first: Path) -> str:
    """Draw the maps; return what holes do to B, and what filling them does."""
    import numpy as np

    from cmbinpaint import plots

    (truth, _), (sky, observed), (filled, _) = (
        _read(path) for path in (folder / "truth.fits", folder / "sky.fits", first)
    )
    before, after, true = (_modes(one) for one in (sky, filled, truth))
    for name in "QUP":
        before[name] = np.where(observed, before[name], np.nan)
    rows = {
        name: {
            "with holes" if name in "QUP" else "zeros in the holes": before[name],
            "filled": after[name],
            "truth": true[name],
        }
        for name in true
    }
    figure = plots.draw_polarization(rows, unit="uK_CMB")
    plots.save_figure(figure, folder / "polarization.png")
    lon, lat = deepest_direction(observed)
    ax = plots.draw_polarized_patch(
        filled,
        lon,
        lat,
        side_deg=SIDE_DEG,
        outline=observed,
        unit="uK_CMB",
        title="filled: T, and polarization",
    )
    plots.save_figure(ax, folder / "patch.png")
    rms = {
        name: float(np.std(modes["B"]))
        for name, modes in (("zeros", before), ("filled", after), ("truth", true))
    }
    return (
        f"rms of B to ell = nside / 2: {rms['zeros']:.3g} µK with zeros in the holes, {rms['filled']:.3g} filled, "
        f"{rms['truth']:.3g} in the truth"
    )


def _read(path: Path) -> "tuple[FloatArray, BoolArray]":
    """Return T, Q, U in µK, 0 in holes, and what is observed."""
    import numpy as np

    from cmbinpaint.files import fits
    from cmbinpaint.sphere.maps import validate_map
    from cmbinpaint.sphere.units import unit_factor

    sky, info = fits.read_map(path, "TQU")
    taken = validate_map(sky, polarized=True)
    return taken.values * unit_factor(info.unit or "uK_CMB", "uK_CMB"), np.asarray(taken.known[-1])


def _modes(sky: "FloatArray") -> "dict[str, FloatArray]":
    """Return Q, U, P, and E and B to ell = nside / 2, where noise does not hide them: what is drawn."""
    import numpy as np

    from cmbinpaint.spectra.modes import eb_maps
    from cmbinpaint.sphere.maps import npix_to_nside

    e, b = eb_maps(sky, npix_to_nside(sky.shape[-1]) // 2)
    return {"Q": sky[1], "U": sky[2], "P": np.hypot(sky[1], sky[2]), "E": e, "B": b}


def deepest_direction(observed: "BoolArray") -> tuple[float, float]:
    """Return longitude and latitude (deg) of the deepest hole away from the Galactic band."""
    import numpy as np

    from cmbinpaint.sphere import masks
    from cmbinpaint.sphere.maps import npix_to_nside
    from cmbinpaint.sphere.pixels import pixel_angles

    depth = masks.depth(observed)
    theta, phi = pixel_angles(npix_to_nside(depth.size), np.arange(depth.size))
    latitude = 90 - np.degrees(theta)
    deepest = int(np.argmax(np.where(np.abs(latitude) > 30, depth, -1.0)))
    return float(np.degrees(phi[deepest])), float(latitude[deepest])
