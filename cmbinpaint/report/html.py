"""Pieces of a page that needs nothing but itself: no scripts, no fonts, no files beside it.

Inputs: text, trusted in nothing; numbers; pictures. Outputs: HTML.

Every function escapes the text it is given; `parts`, `header` and `footer` are what these functions returned.
"""

import base64
import html
import unicodedata
from collections.abc import Iterable, Sequence

# Nothing is fetched and nothing runs, whatever a header says.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { --ink: #1c2430; --soft: #5a6472; --line: #dfe3e8; --wash: #f5f7f9; --accent: #005a8f; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif; }
main, header > div, footer > div { max-width: 1120px; margin: 0 auto; padding: 0 20px; }
header { background: var(--wash); border-bottom: 1px solid var(--line); padding: 22px 0 18px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.22rem; margin: 2.4rem 0 .5rem; padding-top: .9rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.5rem 0 .4rem; }
p { margin: .4rem 0 .8rem; max-width: 78ch; overflow-wrap: anywhere; }
.soft { color: var(--soft); font-size: .9rem; }
nav { margin-top: 10px; font-size: .92rem; }
nav a { display: inline-block; margin-right: 1rem; padding: 2px 0; }
a { color: var(--accent); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 18px 0 4px; }
.facts div { border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; }
.facts b { display: block; font-size: 1.18rem; font-variant-numeric: tabular-nums; }
.facts span { color: var(--soft); font-size: .86rem; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 330px), 1fr)); gap: 14px 22px; }
.row.two { grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
figure { margin: 0; }
.row > * { min-width: 0; }
figure.wide { max-width: 690px; }
figure b { display: block; font-size: .98rem; margin-bottom: 2px; }
img { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; margin: .5rem 0 1rem; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 14px 4px 0; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; border-bottom-color: #aab2bd; }
th:first-child, td:first-child, table.pairs td { text-align: left; }
table.pairs td:first-child { color: var(--soft); white-space: nowrap; }
td { white-space: nowrap; }
table.pairs td:last-child { overflow-wrap: anywhere; white-space: normal; padding-right: 0; }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: 6px; padding: 10px 12px;
  margin: .5rem 0 1rem;
  font: .84rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
pre.plain { overflow-x: auto; }
.note { border-left: 4px solid #6b7785; background: var(--wash); padding: 8px 14px; margin: .8rem 0; max-width: 90ch;
  overflow-wrap: anywhere; }
.note.warn { border-left: 6px double #b00020; }
.note b { margin-right: .4em; }
ul { padding-left: 1.3em; margin: .4rem 0 1rem; max-width: 90ch; } li { margin: .3rem 0; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); margin: .8rem 0; }
footer { border-top: 1px solid var(--line); margin-top: 3rem; padding: 14px 0 30px; }
@media (max-width: 600px) { main, header > div, footer > div { padding: 0 14px; } h1 { font-size: 1.3rem; }
  .facts { grid-template-columns: 1fr 1fr; } }
@media print { nav { display: none; } h2 { break-after: avoid; } figure, table { break-inside: avoid; } }
""".strip()


def escape(text: str) -> str:
    """Return text as HTML shows it; what no reader sees (controls, half characters, reversed writing) becomes '?'."""
    seen = (c if c in "\n\t" or not unicodedata.category(c).startswith("C") else "?" for c in str(text))
    return html.escape("".join(seen))


def page(title: str, *, header: str, parts: Iterable[str], footer: str) -> str:
    """Return a whole document; all but the title is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n"
        f"<header><div>\n{header}\n</div></header>\n<main>\n" + "\n".join(parts) + "\n</main>\n"
        f"<footer><div>{footer}</div></footer>\n</body>\n</html>\n"
    )


def section(anchor: str, title: str, *parts: str) -> str:
    """Return a section with a heading that can be linked to."""
    return f'<section id="{escape(anchor)}">\n<h2>{escape(title)}</h2>\n' + "\n".join(parts) + "\n</section>"


def remark(text: str) -> str:
    """Return a paragraph that explains."""
    return f'<p class="soft">{escape(text)}</p>'


def heading(text: str) -> str:
    """Return a heading within a section."""
    return f"<h3>{escape(text)}</h3>"


def note(label: str, text: str, *, warn: bool = False) -> str:
    """Return a remark that stands out, also without color."""
    return f'<div class="note{" warn" if warn else ""}"><b>{escape(label)}</b>{escape(text)}</div>'


def listing(items: Iterable[str]) -> str:
    """Return a list of texts."""
    return "<ul>\n" + "\n".join(f"<li>{escape(item)}</li>" for item in items) + "\n</ul>"


def preformatted(text: str, *, wrap: bool) -> str:
    """Return text as it was typed; `wrap` breaks long lines, else they scroll."""
    return f'<pre class="{"wrap" if wrap else "plain"}">{escape(text)}</pre>'


def folded(summary: str, *parts: str) -> str:
    """Return what is seen when it is asked for."""
    return f"<details>\n<summary>{escape(summary)}</summary>\n" + "\n".join(parts) + "\n</details>"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return boxes, each a value with what it is."""
    boxes = (f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for what, value in pairs)
    return '<div class="facts">' + "".join(boxes) + "</div>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that scrolls where it is wider than the page."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and values."""
    body = "\n".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<div class="scroll"><table class="pairs">\n{body}\n</table></div>'


def figure(png: bytes, *, alt: str, title: str = "", wide: bool = False) -> str:
    """Return a picture that the page holds itself."""
    data = base64.b64encode(png).decode("ascii")
    above = f"<b>{escape(title)}</b>" if title else ""
    image = f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}">'
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}>{above}{image}</figure>"


def row(*parts: str, two: bool = False) -> str:
    """Return figures side by side, below each other where the page is narrow."""
    return f'<div class="row{" two" if two else ""}">\n' + "\n".join(parts) + "\n</div>"


def links(targets: Iterable[tuple[str, str]]) -> str:
    """Return links to the sections of a page."""
    return (
        "<nav>" + " ".join(f'<a href="#{escape(to)}">{escape(text)}</a>' for to, text in targets) + "</nav>"
    )
