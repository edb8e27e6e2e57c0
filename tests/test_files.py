from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NoReturn

import pytest

from beadseg.errors import ExitCode, InputError, MachineError
from beadseg.events import STAGED
from beadseg.files import (
    TEMPORARY_PREFIX,
    ensure_folder,
    is_unfinished,
    remove_unfinished,
    unstaged,
    write_atomically,
)
from beadseg.runtime.locking import new_folder


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x00\r\n", b"\x00\r\n"),
        ("µ\n", "µ\n".encode()),
        (lambda path: path.write_bytes(b"by function"), b"by function"),
    ],
    ids=["bytes", "text", "function"],
)
def test_writes_content(tmp_path: Path, content: object, expected: bytes) -> None:
    path = tmp_path / "file.csv"
    path.write_text("before")
    write_atomically(path, content)  # type: ignore[arg-type]
    assert path.read_bytes() == expected
    assert list(tmp_path.iterdir()) == [path]


def test_function_gets_a_path_with_the_extension(tmp_path: Path) -> None:
    given: list[Path] = []

    def write(path: Path) -> None:
        given.append(path)
        path.write_bytes(b"x")

    write_atomically(tmp_path / "image.tif", write)
    assert given[0].suffix == ".tif"
    assert is_unfinished(given[0])


def test_failure_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")

    def fail(path: Path) -> NoReturn:
        path.write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_atomically(path, fail)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOSPC, "space"), (errno.EACCES, "may write"), (errno.EROFS, "read-only")]
)
def test_refusal_of_the_system_is_explained(tmp_path: Path, number: int, remedy: str) -> None:
    def refuse(path: Path) -> NoReturn:
        raise OSError(number, os.strerror(number))

    with pytest.raises(MachineError, match=remedy) as caught:
        write_atomically(tmp_path / "file.txt", refuse)
    assert caught.value.where == str(tmp_path / "file.txt")
    assert caught.value.exit_code == ExitCode.MACHINE
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="folder exists"):
        write_atomically(tmp_path / "none" / "file.txt", "x")


@pytest.mark.skipif(os.name == "nt", reason="permission bits of POSIX")
def test_a_disk_that_breaks_twice_is_reported_by_its_first_fault(tmp_path: Path) -> None:
    def fail(path: Path) -> NoReturn:
        path.unlink()
        path.mkdir()  # so it cannot be unlinked afterwards
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MachineError, match="No space left"):
        write_atomically(tmp_path / "file.txt", fail)


@pytest.mark.parametrize("there", [True, False])
def test_a_new_folder_is_there_as_a_whole_or_not_at_all(there: bool, tmp_path: Path) -> None:
    out = tmp_path / "above/out"
    if there:
        out.mkdir(parents=True)

    def fill(fail: bool) -> None:
        with new_folder(out) as folder:
            (folder / "a.txt").write_text("a")
            assert not out.exists() or not any(out.iterdir())
            if fail:
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fill(fail=True)
    assert out.exists() == there
    fill(fail=False)
    assert [path.name for path in out.iterdir()] == ["a.txt"]
    assert list(out.parent.iterdir()) == [out]
    with pytest.raises(InputError, match="not empty"):
        fill(fail=False)


def test_the_working_folder_is_filled_and_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with new_folder(Path()) as folder:
        (folder / "a.txt").write_text("a")
    assert Path("a.txt").read_text() == "a"


def test_colleagues_can_read(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "file.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == 0o644


def test_remove_unfinished_takes_only_its_own(tmp_path: Path) -> None:
    stale = tmp_path / f"{TEMPORARY_PREFIX}1-abcd~tmp.csv"
    bare = tmp_path / f"{TEMPORARY_PREFIX}1-abcd~tmp"
    other = tmp_path / f"{TEMPORARY_PREFIX}notes.txt"
    for path in (stale, bare, other):
        path.write_text("x")
    assert remove_unfinished(tmp_path) == sorted([stale, bare])
    assert list(tmp_path.iterdir()) == [other]


def test_ensure_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert ensure_folder(folder) == folder
    assert ensure_folder(folder).is_dir()


def test_ensure_folder_names_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(MachineError, match="in the way"):
            ensure_folder(path)


def test_what_is_read_from_a_copy_is_known_by_where_it_really_lies(monkeypatch: pytest.MonkeyPatch):
    assert unstaged(Path("/scratch/x/dataset/images/a.png")) == Path("/scratch/x/dataset/images/a.png")
    monkeypatch.setenv(STAGED, "/home/me/a b\n/scratch/x/dataset")
    assert unstaged(Path("/scratch/x/dataset/images/a.png")) == Path("/home/me/a b/images/a.png")
    assert unstaged(Path("/home/other.png")) == Path("/home/other.png")
