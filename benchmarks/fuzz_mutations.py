"""How the fuzzer damages things: bytes, cards of FITS headers, JSON and TOML values, words of a command line.

Inputs: what is whole, a generator. Outputs: the same with one fault or a few.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

BLOCK, CARD = 2880, 80
NUMBERS = [
    "0", "-1", "1", "2", "3", "7", "4.0", "1e400", "-1e-400", "nan", "inf", "9" * 30, "2147483648", "0x10", "1_000",
    "1,5", "''", "1.5", "T", "+4", "٣",
]  # fmt: skip
CARDS = [
    *NUMBERS, "'RING    '", "'NESTED  '", "'nest'", "'NUNIQ'", "RING", "'EXPLICIT'", "'IMPLICIT'", "'PARTIAL'",
    "'K_CMB'", "'mK'", "'uK'", "'µK'", "K", "'HEALPIX '", "'HEALPXI'", "'1024E'", "'E'", "'D'", "'4E'", "'I'",
    "'PE(3)'", "'0E'", "'-1E'", "'A'", "'PIXEL'", "'I_STOKES'", "'IMAGE   '", "'BINTABLE'", "'", "'a''b'", "(1, 2)", "",
    "/ nothing",
]  # fmt: skip
KEYS = [
    "NAXIS", "NAXIS1", "NAXIS2", "BITPIX", "PCOUNT", "GCOUNT", "TFIELDS", "TFORM1", "TFORM2", "TTYPE1", "TTYPE2",
    "TUNIT1", "TSCAL1", "TZERO1", "TNULL1", "TDIM1", "BAD_DATA", "NSIDE", "ORDERING", "INDXSCHM", "OBJECT", "PIXTYPE",
    "GRAIN", "FIRSTPIX", "LASTPIX", "COORDSYS", "POLCCONV", "EXTNAME", "XTENSION", "ZTABLE", "ZIMAGE", "CHECKSUM",
    "DATASUM", "CONTINUE", "HIERARCH", "LONGSTRN", "SIMPLE", "EXTEND", "END", "HISTORY", "A?B*", "",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 1.5, -0.0, 1e308, 1e-320, "", "nan", "x" * 300, "µ",
    "\0", "../up", "/tmp", "relu", [], [1], [[1]], [1, 2], ["a", "b"], {}, {"a": 1}, {"": None},
]  # fmt: skip
WORDS = [
    "", " ", "-", "--", "-1", "0", "1", "2", "4", "1.5", "1e400", "-1e9", "nan", "inf", "9" * 400, "0x10", "1_0", "٣",
    "µK", "K", "mK", "\u2028", "\udcff", "a" * 300, "none", "RING", "NESTED", "nest", ".", "..", "absent/", "pipe",
    "empty", "--help", "--seed", "--overwrite", "--nest", "-o", "8G", "1K", "3", "--debug", "gaussian", "kriging",
    "text.txt",
]  # fmt: skip


def pick(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    """One of them."""
    return choices[int(rng.integers(len(choices)))]


def damaged_bytes(raw: bytes, rng: np.random.Generator) -> bytes:
    """One to three faults of storage or transfer."""
    out = bytearray(raw)
    for _ in range(int(rng.integers(1, 4))):
        at, length = int(rng.integers(len(out) + 1)), int(2 ** rng.uniform(0, 12))
        match int(rng.integers(8)):
            case 0 | 1 if at < len(out):
                out[at] ^= 1 << int(rng.integers(8))
            case 2 if at < len(out):
                out[at] = int(rng.integers(256))
            case 3:
                del out[at : at + length]
            case 4:
                out[at:at] = rng.bytes(length)
            case 5:
                del out[at:]
            case 6:
                out[at : at + length] = bytes(len(out[at : at + length]))
            case _:
                out[at:at] = out[:length]
    return bytes(out)


def damaged_text(text: str, rng: np.random.Generator, words: Sequence[str] = NUMBERS) -> bytes:
    """Words or lines replaced, doubled or left out; now and then bytes."""
    parts = re.split(r"(\s+|[,=\[\]{}#])", text)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(parts)))
        match int(rng.integers(4)):
            case 0:
                parts[at] = ""
            case 1:
                parts[at] += parts[int(rng.integers(len(parts)))]
            case _:
                parts[at] = str(pick(rng, words))
    raw = "".join(parts).encode("utf-8", "surrogatepass")
    return damaged_bytes(raw, rng) if rng.random() < 0.2 else raw


def damaged_cards(raw: bytes, rng: np.random.Generator) -> bytes:
    """One to three cards of the headers of a FITS file changed, doubled, moved or left out; sizes stay in blocks."""
    ends = [at for at in range(0, len(raw), CARD) if raw[at : at + CARD].rstrip() == b"END"][:2]
    begins = [0, *(-(-(end + CARD) // BLOCK) * BLOCK for end in ends)]
    which = min(int(rng.integers(4)), 1) if len(ends) > 1 else 0
    if not ends:
        return damaged_bytes(raw, rng)
    begin, end = begins[which], ends[which]
    cards = [raw[at : at + CARD] for at in range(begin, end, CARD)]
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(cards)))
        match int(rng.integers(6)):
            case 0:
                del cards[at]
            case 1:
                cards.insert(at, pick(rng, cards))
            case 2:
                cards[at] = damaged_bytes(cards[at], rng)[:CARD].ljust(CARD)
            case 3:
                cards[at] = _card(pick(rng, KEYS), rng)
            case _:
                cards[at] = _card(cards[at][:8].decode("latin-1").strip(), rng)
        if not cards:
            break
    header = b"".join(cards) + b"END".ljust(CARD)
    return raw[:begin] + header.ljust(-(-len(header) // BLOCK) * BLOCK) + raw[begins[which + 1] :]


def _card(keyword: str, rng: np.random.Generator) -> bytes:
    text = f"{keyword:8}= {pick(rng, CARDS)}"
    return text.encode(pick(rng, ["utf-8", "latin-1"]), "replace")[:CARD].ljust(CARD)


def damaged_value(value: Any, rng: np.random.Generator) -> Any:
    """A table or list, as JSON has them, with one entry changed, added or left out somewhere."""
    if isinstance(value, dict) and value:
        key = pick(rng, list(value))
        match int(rng.integers(8)):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return {**value, pick(rng, [key + "x", key.upper(), "", "extra"]): pick(rng, VALUES)}
            case _:
                return {**value, key: damaged_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = int(rng.integers(len(value)))
        return [*value[:at], damaged_value(value[at], rng), *value[at + 1 :]]
    if rng.random() < 0.02:
        deep: Any = 1
        for _ in range(int(10 ** rng.uniform(1, 3))):
            deep = [deep]
        return deep
    return pick(rng, VALUES)


def damaged_words(words: list[str], rng: np.random.Generator) -> list[str]:
    """One to three words of a command line replaced, doubled, moved, glued or left out; the command stays."""
    out = list(words)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(1, len(out))) if len(out) > 1 else 0
        match int(rng.integers(6)):
            case 0 if at:
                del out[at]
            case 1 if at:
                out.insert(at, pick(rng, out[1:]))
            case 2 if at:
                out[at] = f"{out[at]}={pick(rng, WORDS)}"
            case 3 if at:
                out[at] = out[at][:-1] + pick(rng, "x-=0é")
            case _:
                out[at or len(out) :] = [pick(rng, WORDS), *out[at + 1 if at else len(out) :]]
    return [word.replace("\0", "") for word in out]
