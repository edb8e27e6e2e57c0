"""What the fault tests share beside their fixtures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beadseg import files

TINY = ["epochs=1", "epoch.steps=10", "epoch.size=64", "batch=4", "network.width=8", "network.depth=3",
        "precision=fp32", "predict.precision=fp32", "optimizer.lr=1e-2"]  # fmt: skip
SHORT = [word for field in (*TINY, "epoch.steps=2", "batch=2") for word in ("--set", field)]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    def is_refusal(self, code: int, *texts: str) -> None:
        """Check that it ended with `code` and one line on standard error that holds every text."""
        assert "Traceback" not in self.err
        assert self.code == code, self.err
        (line,) = self.err.splitlines()
        assert line.startswith("beadseg-batch: ")
        assert line.endswith("."), "the remedy is a sentence"
        for text in texts:
            assert text in line


Cli = Callable[..., Outcome]


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def unfinished(folder: Path) -> list[Path]:
    """Return temporary files that were left below a folder."""
    return [path for path in folder.rglob("*") if files.is_unfinished(path)]


def first(folder: Path, kind: str) -> Path:
    """Return the first file of a part of a dataset."""
    return sorted((folder / kind).iterdir())[0]


def child(program: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `beadseg-batch` in a process of its own, `program` before it; without a home folder or a user's name."""
    names = ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "XDG_CACHE_HOME", "BEADSEG_CACHE")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    ending = "; from beadseg.cli.app import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", f"import sys; {program}{ending}", *map(str, words)],
                          capture_output=True, text=True, check=False, env=environment)  # fmt: skip
