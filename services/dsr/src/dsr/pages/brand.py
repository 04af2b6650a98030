"""The company's colour, with text that can be read on it (WCAG 2.2, 1.4.3)."""

import re

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_BLACK, _WHITE = "#000000", "#ffffff"


def variables(color: str) -> str:
    """The style sheet's variables. A value that is no `#rrggbb` raises `ValueError`, at start."""
    if not _COLOR.fullmatch(color):
        raise ValueError("brand_color must be #rrggbb")
    on_brand = max((_BLACK, _WHITE), key=lambda text: contrast(text, color))
    return f":root{{--brand:{color};--on-brand:{on_brand}}}\n"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
