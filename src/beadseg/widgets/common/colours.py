"""Colours readable in the light and the dark theme: text keeps the theme's colour, only the ground is tinted."""

from __future__ import annotations

from typing import Final, Literal

Tone = Literal["info", "good", "warning", "error"]
"""How a message is meant."""

TINT: Final[dict[Tone, tuple[int, int, int]]] = {
    "info": (66, 133, 214),
    "good": (52, 158, 88),
    "warning": (214, 148, 30),
    "error": (214, 64, 56),
}
"""Red, green, blue of a tone; strong enough as a line on white and on dark grey."""
GROUND_ALPHA = 55
"""Opacity of the tinted ground, of 255: text on it keeps its contrast in both themes."""


def framed(tone: Tone, name: str) -> str:
    """Return a style sheet for the widget called `name`: tinted ground and a line of full colour at its left."""
    red, green, blue = TINT[tone]
    return (
        f"#{name} {{ background-color: rgba({red}, {green}, {blue}, {GROUND_ALPHA}); border: none; "
        f"border-left: 3px solid rgb({red}, {green}, {blue}); border-radius: 3px; }} "
        f"#{name} QLabel {{ background-color: transparent; }}"
    )
