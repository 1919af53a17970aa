"""`cmbinpaint simulate`: one simulated sky in a FITS file.

Inputs: resolution, spectrum, beam, noise, seed. Outputs: a HEALPix file with its history.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.errors import SpectrumError

if TYPE_CHECKING:
    from cmbinpaint._types import FloatArray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `simulate`."""
    parser.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="FITS file to write, or FOLDER/ (sky.fits in it)"
    )
    parser.add_argument("--nside", metavar="N", type=common.positive_int, default=256, help="default 256")
    parser.add_argument(
        "--cl", metavar="FILE", type=Path, help="C_ell in µK² from ell 0; default: Planck 2018's, packaged"
    )
    parser.add_argument("--lmax", metavar="L", type=common.positive_int, help="default 3*nside-1")
    parser.add_argument(
        "--fwhm-arcmin", metavar="X", type=common.natural_float, help="Gaussian beam; default none"
    )
    parser.add_argument(
        "--noise-std",
        metavar="X|FILE",
        default="0",
        help="white noise per pixel in µK, or a map of it; default 0",
    )
    parser.add_argument("--pixwin", action="store_true", help="let pixels average: apply the pixel window")
    parser.add_argument(
        "--holes",
        choices=common.HOLES,
        help="hide pixels (UNSEEN): a Planck-like mask, or round holes 5 to 65 px wide; default: the whole sky",
    )
    parser.add_argument(
        "--unit", default="K_CMB", metavar="U", help="of the file: K_CMB (default), mK_CMB, uK_CMB"
    )
    parser.add_argument(
        "--ordering", choices=["RING", "NESTED"], default="RING", help="of the file; default RING"
    )
    parser.add_argument("--column", default="I_STOKES", metavar="NAME", help="default I_STOKES")
    parser.add_argument(
        "--seed", type=common.natural, metavar="S", help="default: a fresh one, which is recorded"
    )
    common.add_max_memory(parser.add_argument)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")


def run(args: argparse.Namespace) -> int:
    """Simulate one sky and write it."""
    output = outputs.output_file(args.output, "sky.fits")
    outputs.refuse_outputs(args, [output], overwrite=args.overwrite)
    import numpy as np

    from cmbinpaint.files import fits
    from cmbinpaint.sims import simulate_sky
    from cmbinpaint.sphere.maps import UNSEEN, validate_nside
    from cmbinpaint.sphere.units import parse_unit, unit_factor

    nside = validate_nside(args.nside)
    lmax = args.lmax or 3 * nside - 1
    unit = parse_unit(args.unit)
    seed = common.fresh_seed() if args.seed is None else args.seed
    cl = spectrum(args.cl, lmax)
    noise = common.read_noise(args.noise_std, args.max_memory)
    fwhm = None if args.fwhm_arcmin is None else float(np.radians(args.fwhm_arcmin / 60))
    with common.stage("simulate"):
        sky = simulate_sky(cl, nside, fwhm=fwhm, noise_std=noise, pixwin=args.pixwin, lmax=lmax, seed=seed)
    hidden = None if args.holes is None else ~common.drawn_mask(args.holes, nside)
    cards, history = common.provenance_of(args.argv)
    cards |= _cards(args, seed, lmax)
    written = (sky * unit_factor("uK_CMB", unit)).astype(np.float32)
    if hidden is not None:
        written[hidden] = UNSEEN
    fits.write_map(
        output,
        written,
        unit=unit,
        column=args.column,
        ordering=args.ordering,
        coord="G",
        overwrite=args.overwrite,
        provenance=cards,
        history=history,
    )
    share = "" if hidden is None else f", {np.mean(hidden):.1%} of the pixels hidden"
    print(f"{output}: nside {nside}, {args.ordering}, {unit}, seed {seed}, rms {np.std(sky):.1f} µK{share}")
    return 0


def spectrum(path: Path | None, lmax: int) -> "FloatArray":
    """Return C_ell in µK² from a file, or the packaged one of Planck 2018."""
    if path is None:
        from cmbinpaint.sims import fiducial_spectra

        try:
            return fiducial_spectra(lmax)[0]
        except SpectrumError as error:
            raise SpectrumError(f"{error}; give a lower --lmax, or --cl") from None
    from cmbinpaint.files.spectrum_files import read_cl

    return read_cl(path)


def _cards(args: argparse.Namespace, seed: int, lmax: int) -> dict[str, Any]:
    source = "CAMB, Planck 2018" if args.cl is None else args.cl.name
    return {
        "SEED": (seed, "of the simulation"),
        "CLSOURCE": (source, "spectrum of the sky"),
        "LMAX": (lmax, "highest multipole"),
        "FWHM": (args.fwhm_arcmin or 0.0, "[arcmin] Gaussian beam"),
        "NOISESTD": (args.noise_std, "[uK] white noise per pixel, or its map"),
        "PIXWIN": (bool(args.pixwin), "whether the pixel window is applied"),
    }
