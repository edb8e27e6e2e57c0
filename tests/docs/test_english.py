"""What a person reads is plain English: nothing has a pattern that a native speaker would not write.

The rules are in CONTRIBUTING.md. They hold for the documentation and for all text in the code.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
CODE = sorted((ROOT / "src" / "beadseg").rglob("*.py"))
THINGS = "images|beads|samples|files|epochs|trials|planes|fields|masks|regions|jobs|models|pixels|rows|columns|points"

PATTERNS = {
    r"(?<!there )(?:is|are|was|were) no (?!longer|more|less|fewer|need|such|lower|higher|larger|smaller|better)\w":
        "is not a …",
    r"\banew\b": "again",
    rf"(?<![\d.,] and )(?<![\d,.x-])\b1 (?:{THINGS})\b": "1 image: `text.plural`",
    r"\bno number any more\b|\b(?:loss|score|value) is no\b": "became NaN or infinite",
    r"\blearn\w* by heart\b": "overfitting",
    r"\bended? without a word\b": "was killed, or exited without an error message",
    r"\bhangs? together\b": "connected component",
    r"\bwhat (?:has become|became|becomes) of the\b": "the status of",
    r"\bfor want of\b|\bwant of memory\b": "out of memory",
    r"\bat the most\b": "at most",
    r"\bas a rule\b": "usually",
    r"\bof its own accord\b": "automatically",
    r"\bwho(?:m|se|) is told\b|\btold to the user\b": "shown, reported",
    r"\bwhereof\b|\bthereof\b|\bwherewith\b|\btherewith\b|\bhereby\b": "of this, by this",
    r"\bno other than\b|\bnothing else than\b": "only",
    r"\bmakes? no sense\b": "is not possible, with the reason",
    r"\b(?:informations|softwares|datas|evidences|advices)\b": "no plural",
    r"\ballows? to\b|\benables? to\b": "lets you, allows you to",
    r"\bcan not\b": "cannot",
    r"\bdifferent than\b": "different from",
    r"\bin the sense that\b|\bso-called\b": "leave it out",
    r"\bto the disposal\b|\bat the disposal\b": "available",
    r"\bdead letters?\b|\btwins?\b(?!\.)": "failed images; duplicates",
}  # fmt: skip
"""What is not written, and what is written in its place."""


def lines_of(path: Path) -> list[str]:
    """Return the lines of a page or module, without the examples and outputs of a page."""
    text = path.read_text("utf-8")
    if path.name == "CONTRIBUTING.md":  # quotes what is not written
        text = re.sub(r'"[^"\n]*"', '""', text)
    if path.suffix == ".md":
        text = re.sub(r"^```.*?^```", lambda found: "\n" * found[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    return text.splitlines()


def found_in(lines: list[str], pattern: str) -> list[tuple[int, str]]:
    """Return number and text of the lines that have a pattern, also across the end of a line."""
    found = []
    for number, line in enumerate(lines, start=1):
        ahead = lines[number].strip(' #"') if number < len(lines) else ""
        joined = f"{line.rstrip()} {ahead}"
        if any(match.start() < len(line.rstrip()) for match in re.finditer(pattern, joined, re.IGNORECASE)):
            found.append((number, joined.strip()))
    return found


@pytest.mark.parametrize(("pattern", "better"), PATTERNS.items(), ids=PATTERNS.values())
def test_nothing_reads_like_a_translation(pattern: str, better: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {text[:150]}"
        for path in (*PAGES, *CODE)
        for number, text in found_in(lines_of(path), pattern)
    ]
    assert not wrong, f"write: {better}\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("'5' is no assignment.", "is not a …"),
        ("A folder that is\n    no dataset.", "is not a …"),
        ("Predicts anew.", "again"),
        ("1 images were read.", "1 image: `text.plural`"),
        ("The loss is no number any more.", "became NaN or infinite"),
        ("Another process ended without a word.", "was killed, or exited without an error message"),
    ],
)
def test_a_pattern_is_found(text: str, pattern: str) -> None:
    (wanted,) = (each for each, better in PATTERNS.items() if better == pattern)
    assert found_in(text.splitlines(), wanted)


@pytest.mark.parametrize(
    "text", ["There is no such file.", "It is no longer there.", "21 images, 0.1 images", "10 and 1,001 images"]
)
def test_plain_english_is_left_alone(text: str) -> None:
    assert not any(found_in([text], pattern) for pattern in PATTERNS)
