"""From a policy's text to HTML."""

import pytest

from consent.pages.markdown import Section, render


def test_the_texts_own_title_is_the_pages() -> None:
    article = render("# Our *privacy* `policy`\n\nWords.\n")
    assert (article.title, article.html) == ("Our privacy policy", "<p>Words.</p>\n")


def test_without_one_every_first_level_heading_becomes_a_section() -> None:
    article = render("Words.\n\n# One\n\n# Two\n")
    assert article.title is None
    assert article.html == '<p>Words.</p>\n<h2 id="one">One</h2>\n<h2 id="two">Two</h2>\n'


def test_sections_have_anchors_of_their_own() -> None:
    article = render("# T\n\n## Same\n\n## Same\n\n## Ähm?\n\n## 你好\n\n### Below\n")
    assert article.sections == [
        Section("same", "Same"),
        Section("same-2", "Same"),
        Section("hm", "Ähm?"),
        Section("section", "你好"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "![pixel](https://example.com/pixel.gif)",
        "[click](javascript:alert(1))",
        "[click](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](https://example.com \"onmouseover='alert(1)'\")",
        '<https://example.com/"onclick=alert(1)>',
        "```html\n<script>alert(1)</script>\n```",
        "# <script>alert(1)</script>\n\n## <b onclick=x>y</b>",
    ],
)
def test_no_text_brings_markup_of_its_own(text: str) -> None:
    html = render(text).html.lower()
    for forbidden in ("<script", "<img", "<b", 'href="javascript:', 'href="data:', ' onclick="', ' onerror="'):
        assert forbidden not in html
    assert "<script" not in (render(text).title or "") or "<script>" in text


def test_tables_and_links() -> None:
    html = render("| a | b |\n|---|---|\n| 1 | <privacy@example.com> |\n").html
    assert "<th>a</th>" in html
    assert '<a href="mailto:privacy@example.com">privacy@example.com</a>' in html
