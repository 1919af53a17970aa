"""What the package says to Python's users, in the words of the command line.

Inputs: texts of errors and warnings. Outputs: the same, with options in place of arguments.
"""

import re

_OPTIONS = {
    "unit": "--unit", "model": "--model", "ordering": "--ordering", "kind": "--cl-kind", "fill": "--fill",
    "exclude": "--exclude", "threshold": "--mask-threshold", "max_memory": "--max-memory", "hdu": "--hdu",
    "noise_std": "--noise-std", "noise_cov": "--noise-cov", "colored_noise_cl": "--colored-noise",
    "n_realizations": "--realizations",
    "fwhm": "--fwhm-arcmin", "cl": "--cl",
}  # fmt: skip
# Names that are no words of the language: alone they are arguments too.
_ALONE = "noise_std|noise_cov|colored_noise_cl|n_realizations|max_memory|fwhm|cl"
_PHRASES = {
    "draws=Draws(first=...)": "--first-realization",
    "with_noise=False": "--no-noise",
    "read_cl converts files": "files that say another unit are converted",
    "plan=plan_inpainting(mask, exclude=(sky == 0))": "--exclude FILE",
    "pass mask=(sky != 0)": "give --mask FILE",
    "pass 1 - mask": "give a file of 1 - mask",
    "give fwhm or beam": "give --fwhm-arcmin",
    "it looks to be D_ell = ell (ell + 1) C_ell / 2π": "it looks to be D_ell, which --cl-kind dl declares",
    "its spectrum looks to be in K²": "its spectrum looks to be in K², which --cl-unit K^2 declares",
    "its spectrum looks to be in mK²": "its spectrum looks to be in mK², which --cl-unit mK^2 declares",
    "its spectrum looks to be dimensionless, without T_CMB² = (2.7255e6 µK)²": "its spectrum looks to be "
    "dimensionless, which --cl-unit dimensionless declares",
    "pass map[0]": "--fields T",
    "field=('I_STOKES', 'Q_STOKES', 'U_STOKES')": "--field I_STOKES,Q_STOKES,U_STOKES",
    "a sky_model": "a sky model",
    "sky_model": "the sky model",
}
# Where a message gives both, the option: "raise max_memory (--max-memory)".
_BOTH = re.compile(r"\b\w+(?:=\S*)? \((--[a-z-]+(?: [^()]*)?)\)")
_ASSIGNED = re.compile(rf"(?<![\w./-])({'|'.join(_OPTIONS)})=(?:'([^']*)'|\"([^\"]*)\"|(?=[\s,;:.)]|$))")
_BARE = re.compile(rf"(?<![\w./'\"-])({_ALONE})(?![\w./'\"=-])")


def in_options(text: str) -> str:
    """Return a message with the command's options where it names arguments of the Python functions."""
    for phrase, words in _PHRASES.items():
        text = text.replace(phrase, words)
    text = _BARE.sub(lambda m: _OPTIONS[m[1]], _BOTH.sub(r"\1", text))
    return _ASSIGNED.sub(lambda m: " ".join(filter(None, (_OPTIONS[m[1]], m[2] or m[3]))), text)
