"""Text in plain ASCII, for headers and consoles that hold no more.

Inputs: any text. Outputs: the same, its signs spelled out.
"""

import unicodedata

_SPELLED = {
    "µ": "u", "μ": "u", "σ": "sigma", "π": "pi", "²": "^2", "³": "^3", "½": "1/2", "√": "sqrt ", "∞": "inf",
    "±": "+-", "×": "x", "·": "*", "≤": "<=", "≥": ">=", "≈": "~", "→": "->", "°": " deg", "ℓ": "l",
    "–": "-", "—": "-", "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"', "′": "'",
}  # fmt: skip


def ascii_text(text: str) -> str:
    """Return a text in ASCII: signs spelled out, letters without their accents, anything else as '?'."""
    return "".join(c if c.isascii() else _SPELLED.get(c) or _bare(c) for c in text)


def _bare(sign: str) -> str:
    letters = "".join(c for c in unicodedata.normalize("NFKD", sign) if c.isascii())
    return letters or (" " if sign.isspace() else "?")
