"""Files and code lines of `src/beadseg`, room by room: `make size`, or ``python benchmarks/house.py --files``.

A code line is a line that holds code: no blank line, no comment, no docstring (that of an attribute neither).
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import tokenize
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE = Path(__file__).parents[1] / "src" / "beadseg"
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(text: str) -> set[int]:
    """Return the numbers of the lines of a Python file that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines - _docstrings(ast.parse(text))


def functions(text: str) -> Iterator[tuple[str, int]]:
    """Yield the name of every function of a Python file, and how many code lines its body has."""
    lines = code_lines(text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, len(lines & set(range(node.body[0].lineno, (node.end_lineno or 0) + 1)))


def modules(package: Path = PACKAGE) -> dict[str, int]:
    """Return the code lines of every module, by its path in the package."""
    return {
        path.relative_to(package).as_posix(): len(code_lines(path.read_text("utf-8")))
        for path in sorted(package.rglob("*.py"))
    }


def longest_function(package: Path = PACKAGE) -> tuple[int, str]:
    """Return the code lines in the body of the longest function, and where it is."""
    return max(
        (lines, f"{path.relative_to(package).as_posix()}:{name}")
        for path in package.rglob("*.py")
        for name, lines in functions(path.read_text("utf-8"))
    )


def _docstrings(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for each in body if isinstance(body, list) else ():
            if (
                isinstance(each, ast.Expr)
                and isinstance(each.value, ast.Constant)
                and isinstance(each.value.value, str)
            ):
                lines.update(range(each.lineno, (each.end_lineno or each.lineno) + 1))
    return lines


def _table(sizes: dict[str, int]) -> Iterator[str]:
    rooms: dict[str, list[int]] = defaultdict(list)
    for path, lines in sizes.items():
        rooms[path.split("/")[0] if "/" in path else "(root)"].append(lines)
    yield f"{'room':<12} {'files':>5} {'lines':>6} {'median':>6} {'largest':>7}"
    for room, found in sorted(rooms.items()):
        yield _row(room, found)
    yield _row("all", list(sizes.values()))


def _row(name: str, found: Iterable[int]) -> str:
    lines = list(found)
    with_code = [each for each in lines if each] or [0]
    return f"{name:<12} {len(lines):>5} {sum(lines):>6,} {statistics.median(with_code):>6.0f} {max(lines):>7}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", action="store_true", help="also print every module, the largest first")
    parser.add_argument("--package", type=Path, default=PACKAGE, help="folder of another version of beadseg")
    options = parser.parse_args()
    sizes = modules(options.package)
    print("\n".join(_table(sizes)))
    lines, where = longest_function(options.package)
    print(f"Longest function: {where}, {lines} lines.")
    if options.files:
        for path, count in sorted(sizes.items(), key=lambda item: -item[1]):
            print(f"{count:>4}  {path}")


if __name__ == "__main__":
    main()
