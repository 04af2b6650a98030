"""From a policy's Markdown to safe HTML: no raw HTML, no images, headings in order and with anchors.

The page has one first-level heading: the text's own when it begins with one, else the caller's.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


@dataclass(frozen=True)
class Section:
    """A second-level heading, for the table of contents."""

    anchor: str
    title: str


@dataclass(frozen=True)
class Article:
    """A text to show. `title` is its own first-level heading, if it begins with one; `html` is what follows."""

    title: str | None
    html: str
    sections: list[Section]


def render(text: str) -> Article:
    """Markdown to HTML."""
    tokens = _PARSER.parse(text)
    title = None
    if len(tokens) > 2 and tokens[0].tag == "h1":
        title = _plain(tokens[1])
        tokens = tokens[3:]
    for token in tokens:
        if token.tag == "h1":
            token.tag = "h2"
    sections = list(_anchored(tokens))
    html: str = _PARSER.renderer.render(tokens, _PARSER.options, {})
    return Article(title, html, sections)


def _anchored(tokens: Sequence[Token]) -> Iterator[Section]:
    used: set[str] = set()
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open" or opening.tag != "h2":
            continue
        title = _plain(inline)
        anchor = _unused(re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section", used)
        opening.attrSet("id", anchor)
        yield Section(anchor, title)


def _unused(anchor: str, used: set[str]) -> str:
    number, name = 1, anchor
    while name in used:
        number += 1
        name = f"{anchor}-{number}"
    used.add(name)
    return name


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or [] if child.type in {"text", "code_inline"})
