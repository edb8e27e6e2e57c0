"""The pages of the guide, taken apart: blocks of commands, of what they print, of Python; links and headings.

How the tests read a page:

- Every line of a ``console`` block is a command. ``beadseg-batch`` runs in this process, anything else (`cat`, `ls`,
  `head` …) in a shell. It must end with 0, or as a comment at its end says: ``# exit code 2``.
- A ``text`` block that follows holds lines that the commands print, in order; other lines may be between. Numbers are
  not compared, since they differ between machines. ``…`` stands for anything, alone or within a line.
- All ``python`` blocks of a page share their names.
- A comment before a block says what a test does differently:
  ``<!-- test: skip: REASON -->`` does not run it, ``<!-- test: slow -->`` leaves it to the slow tests,
  ``<!-- test: quick: OPTIONS -->`` adds options to its commands in the quick tests, ``<!-- test: output varies -->``
  does not compare it. What follows a block that was not run is not compared either.
- ``<!-- test: file: NAME -->`` before a ``yaml`` block writes it to that file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (
    "first-steps",
    "data",
    "audit",
    "review",
    "training",
    "sweeps",
    "diagnosis",
    "counting",
    "density",
    "file-formats",
    "python-api",
)
"""Pages that are run, in this order of reading; all but the first go on with what the first one made."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DIRECTIVE = re.compile(r"<!-- test: ([^>]*?) -->\s*$")
_NUMBER = re.compile(r"(?<![A-Za-z])[+-]?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?%?")
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ ")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it begins on, and what the comment before it asks for."""

    language: str
    text: str
    line: int
    directive: str = ""

    def asks(self, what: str) -> str | None:
        """Return what follows ``what:`` in the directive, ``""`` where nothing does, None for another directive."""
        name, _, value = self.directive.partition(":")
        return value.strip() if name == what else None


def read(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    found = []
    for match in _FENCE.finditer(text):
        before = text[: match.start()]
        directive = _DIRECTIVE.search(before)
        line = before.count("\n") + 1
        found.append(Block(match[1], match[2], line, directive[1] if directive else ""))
    return found


def commands(block: Block) -> list[tuple[str, int]]:
    """Return the commands of a console block, each with the exit code that its comment promises."""
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        command, _, comment = line.partition("  # ")
        code = re.search(r"exit code (\d+)", comment)
        if command.strip():
            found.append((command.strip(), int(code[1]) if code else 0))
    return found


def plain(line: str) -> str:
    """Return a printed line without time stamp and widths, its numbers all alike."""
    line = re.sub(r"-{3,}", "---", _STAMP.sub("", line))
    return " ".join(_NUMBER.sub("#", line).split())


def missing(promised: str, printed: str) -> list[str]:
    """Return the lines of `promised` that `printed` does not have, in that order."""
    lines = iter([plain(line) for line in printed.splitlines()])
    absent = []
    for line in promised.splitlines():
        wanted = plain(line)
        if not wanted.strip("…"):
            continue
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in wanted.split("…")))
        remembered = list(lines)
        at = next((i for i, candidate in enumerate(remembered) if pattern.fullmatch(candidate)), None)
        if at is None:
            absent.append(line)
        lines = iter(remembered if at is None else remembered[at + 1 :])
    return absent


def headings(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    without_code = _FENCE.sub("", text)
    titles = re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(text: str) -> list[str]:
    """Return the targets of all links and pictures outside code."""
    without_code = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))
    return re.findall(r"\]\(([^)\s]+)\)", without_code)


def table(text: str, heading: str) -> list[list[str]]:
    """Return the rows of the first table under a heading, header and rule left out, its cells without backticks."""
    part = text.split(f"{heading}\n", 1)[1]
    rows = []
    for line in part.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip().strip("`") for cell in line.strip("|").split(" | ")])
        elif rows or line.startswith("#"):
            break
    return rows[2:]
