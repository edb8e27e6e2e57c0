"""The guide is true: its commands run as they stand, print what it says, and its Python runs."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from guide_pages import GUIDE, Block, blocks, commands, missing, read

from beadseg.cli.app import main

FIRST, *OTHERS = GUIDE
MOST_SKIPPED, MOST_SLOW = 3, 19
"""Blocks of the whole guide that are never run, and that only the slow tests run."""


@dataclass
class Reader:
    """Someone who does what a page says, in one folder.

    Attributes
    ----------
    quick : bool
        Takes the shorter way where the page offers one to the tests.
    wrong : list of str
        What was not as the page says.
    """

    quick: bool
    wrong: list[str] = field(default_factory=list)

    def follow(self, page: str) -> None:
        names: dict[str, Any] = {"__name__": page}
        printed: str | None = ""
        shortened = False
        for block in blocks(read(page)):
            where = f"{page}.md:{block.line}"
            if block.asks("skip") is not None or (self.quick and block.asks("slow") is not None):
                printed = None
            elif block.language == "console":
                printed, shortened = "", self.quick and block.asks("quick") is not None
                for command, code in commands(block):
                    printed += self.run(command, code, block, where)
            elif block.language == "yaml" and (name := block.asks("file")):
                Path(name).write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                printed = self.execute(block, where, names)
            elif block.language == "text" and printed is not None and block.asks("output varies") is None:
                self.compare(block, printed, shortened, where)

    def run(self, command: str, code: int, block: Block, where: str) -> str:
        words = shlex.split(command)
        if words[0] == "beadseg-batch":
            words += shlex.split(block.asks("quick") or "") if self.quick else []
            ended, printed = beadseg_batch(words[1:])
        else:
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
            ended, printed = done.returncode, done.stdout + done.stderr
        if ended != code:
            self.wrong.append(f"{where}: `{shlex.join(words)}` ended with {ended}, not {code}:\n{printed}")
        return printed

    def execute(self, block: Block, where: str, names: dict[str, Any]) -> str:
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                exec(compile(block.text, where, "exec"), names)
        except Exception as error:
            self.wrong.append(f"{where}: {type(error).__name__}: {error}")
        return out.getvalue()

    def compare(self, block: Block, printed: str, shortened: bool, where: str) -> None:
        lines = block.text.splitlines()
        if shortened:  # what the test's options set is not planned any more
            lines = [line for line in lines if not line.startswith("Planned ")]
        absent = missing("\n".join(lines), printed)
        if absent:
            said = "\n".join(absent)
            self.wrong.append(f"{where}: was not printed (in this order):\n{said}\nPrinted was:\n{printed}")


def beadseg_batch(arguments: list[str]) -> tuple[int, str]:
    """Run the command line in this process; return its exit code and all that it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(arguments)
    return int(code), printed.getvalue()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let torch use one thread, whatever the commands ask for."""
    variable, threads = os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    torch.set_num_threads(threads)
    if variable is None:
        del os.environ["OMP_NUM_THREADS"]
    else:
        os.environ["OMP_NUM_THREADS"] = variable


def after_first_page(folder: Path, quick: bool) -> Path:
    """Follow the first page in `folder`; fail where it is wrong."""
    reader = Reader(quick)
    with contextlib.chdir(folder):
        reader.follow(FIRST)
    assert not reader.wrong, "\n\n".join(reader.wrong)
    return folder


@pytest.fixture(scope="module")
def quick_folder(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return after_first_page(tmp_path_factory.mktemp("guide"), quick=True)


@pytest.fixture(scope="module")
def full_folder(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return after_first_page(tmp_path_factory.mktemp("guide"), quick=False)


def follow_on(page: str, folder: Path, quick: bool) -> None:
    """Follow a page in the folder that the first one left; what others made there has other names."""
    reader = Reader(quick)
    with contextlib.chdir(folder):
        reader.follow(page)
    assert not reader.wrong, "\n\n".join(reader.wrong)


def test_the_first_page(quick_folder: Path) -> None:
    assert any(quick_folder.iterdir())


@pytest.mark.parametrize("page", OTHERS)
def test_a_page_that_goes_on(page: str, quick_folder: Path) -> None:
    follow_on(page, quick_folder, quick=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", OTHERS)
def test_a_page_word_by_word(page: str, full_folder: Path) -> None:
    follow_on(page, full_folder, quick=False)


def test_little_is_left_out() -> None:
    everything = [(page, block) for page in GUIDE for block in blocks(read(page))]
    skipped = [(page, block) for page, block in everything if block.asks("skip") is not None]
    assert len(skipped) <= MOST_SKIPPED
    assert len([block for _, block in everything if block.asks("slow") is not None]) <= MOST_SLOW
    for page, block in skipped:
        assert block.asks("skip"), f"{page}.md:{block.line}: say why it is not run"


def test_every_directive_is_known() -> None:
    for page in GUIDE:
        for block in blocks(read(page)):
            known = any(block.asks(what) is not None for what in ("skip", "slow", "quick", "output varies", "file"))
            assert known or not block.directive, f"{page}.md:{block.line}: {block.directive}"


def test_a_wrong_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that fails, a line that is not printed and Python that raises are all found."""
    page = "```console\nbeadseg-batch train nowhere --out run\n```\n```text\nAll is well.\n```\n```python\n1 / 0\n```\n"
    (tmp_path / "wrong.md").write_text(page)
    monkeypatch.setattr("guide_pages.DOCS", tmp_path)
    reader = Reader(quick=True)
    with contextlib.chdir(tmp_path):
        reader.follow("wrong")
    command, line, code = reader.wrong
    assert "ended with 2, not 0" in command
    assert "All is well." in line
    assert "ZeroDivisionError" in code
