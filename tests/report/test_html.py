"""Pieces of pages: what comes from a file is text, and nothing else."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cmbinpaint.report import html

VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Reads a page back: tags in order, texts, and whether every tag is closed where it should be."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


PIECES = [
    lambda t: html.section("a", t),
    html.remark,
    html.heading,
    lambda t: html.note(t, t, warn=True),
    lambda t: html.listing([t, t]),
    lambda t: html.preformatted(t, wrap=True),
    lambda t: html.folded(t),
    lambda t: html.facts([(t, t)]),
    lambda t: html.table([t, "b"], [[t, t]]),
    lambda t: html.pairs([(t, t)]),
    lambda t: html.figure(b"png", alt=t, title=t),
    lambda t: html.links([(t, t)]),
    lambda t: html.page(t, header="", parts=[], footer=""),
]


@pytest.mark.parametrize("piece", PIECES)
@given(st.text(st.characters(codec=None, exclude_characters="\r"), min_size=1, max_size=40))
@example("<script>alert(1)</script>")
@example("\"><img src=x onerror='alert(1)'>")
@example("&lt;b&gt; \x1b[31m \u202e \ud800 </style></title>")
@settings(max_examples=25, deadline=None)
def test_text_stays_text(piece, text: str) -> None:
    made = piece(text)
    made.encode("utf-8")
    empty, found = read(piece("plain")), read(made)
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in empty.tags]
    names = [sorted(attributes) for _, attributes in found.tags]
    assert names == [sorted(attributes) for _, attributes in empty.tags]


def test_a_reader_sees_what_was_written_but_for_what_no_reader_sees() -> None:
    found = read(html.remark("a < b & c > \"d\" 'µ' \x00\x1b\u202e\ud800 ±"))
    assert "".join(found.texts) == "a < b & c > \"d\" 'µ' ???? ±"
    assert "".join(read(html.preformatted("a\n\tb", wrap=False)).texts) == "a\n\tb"


def test_a_page_fetches_nothing_and_runs_nothing() -> None:
    page = html.page("t", header=html.links([("a", "A")]), parts=[html.figure(b"x", alt="x")], footer="f")
    found = read(page)
    policy = next(a["content"] for tag, a in found.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.tags}
    assert not re.search(r"url\(|@import|https?:", page)
    for tag, attributes in found.tags:
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/png;base64,")
    assert "width=device-width" in page and '<html lang="en">' in page


def test_a_picture_is_in_the_page_bit_for_bit() -> None:
    import base64

    data = bytes(range(256))
    (_, attributes) = next(t for t in read(html.figure(data, alt="it")).tags if t[0] == "img")
    assert base64.b64decode(str(attributes["src"]).partition(",")[2]) == data and attributes["alt"] == "it"
