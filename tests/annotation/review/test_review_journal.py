"""What is acknowledged is kept, whatever happens to the writer; what is torn is passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from beadseg.annotation.review.journal import Journal
from beadseg.annotation.review.steps import STEP_COLUMNS, Step, new_id, now
from beadseg.errors import InputError, MachineError

if TYPE_CHECKING:
    from pathlib import Path


def step(sample: str = "a", why: str = "") -> Step:
    return Step(time=now(), by="ada", sample=sample, action="accept", state="accepted", why=why, step=new_id())


def read(folder: Path) -> tuple[Step, ...]:
    journal = Journal(folder)
    journal.refresh()
    assert journal.problems == ()
    return journal.steps


def test_steps_come_back_as_they_were(tmp_path: Path) -> None:
    steps = [step("=cmd()", "one, two\nthree \\n"), step("µ <b>", "-1")]
    Journal(tmp_path).append(steps)
    assert read(tmp_path) == tuple(steps)


def test_every_session_has_a_file_of_its_own_and_sees_the_others(tmp_path: Path) -> None:
    one, other = Journal(tmp_path), Journal(tmp_path)
    first, second = step(), step()
    one.append([first])
    other.append([second])
    assert len(list(tmp_path.glob("*.csv"))) == 2
    assert one.refresh() == [second]
    assert one.refresh() == []


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_line_is_passed_over_and_read_once_it_is_whole(tmp_path: Path, cut: int) -> None:
    Journal(tmp_path).append([step(), step("b")])
    path = next(tmp_path.glob("*.csv"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    journal = Journal(tmp_path)
    assert [found.sample for found in journal.refresh()] == ["a"]
    path.write_bytes(whole)
    assert [found.sample for found in journal.refresh()] == ["b"]
    assert journal.problems == ()


def test_nothing_is_written_behind_a_line_that_was_torn_by_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.append([step("a")])

    def half(path: Path, data: bytes) -> None:
        with path.open("ab") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("beadseg.annotation.review.journal._append", half)
        with pytest.raises(MachineError, match="No space"):
            journal.append([step("b")])
    journal.append([step("c")])
    assert sorted(found.sample for found in read(tmp_path)) == ["a", "c"]


def test_a_journal_that_is_copied_counts_once(tmp_path: Path) -> None:
    Journal(tmp_path).append([step()])
    path = next(tmp_path.glob("*.csv"))
    (tmp_path / "copy of it.csv").write_bytes(path.read_bytes())
    assert len(read(tmp_path)) == 1


def test_rows_that_make_no_sense_are_named_and_the_others_hold(tmp_path: Path) -> None:
    Journal(tmp_path).append([step("a")])
    path = next(tmp_path.glob("*.csv"))
    good = path.read_text("utf-8-sig").splitlines()[1]
    bad = ["nonsense", "", good.replace("accepted", "perfect"), '"never closed', good.replace(",accept,", ",undo,")]
    path.write_text("\n".join([",".join(STEP_COLUMNS), good, *bad, good.replace("ada", "eve"), ""]), encoding="utf-8")
    journal = Journal(tmp_path)
    journal.refresh()
    assert [found.by for found in journal.steps] == ["ada"]
    messages = [problem.message for problem in journal.problems]
    assert len(messages) == 5
    assert sum("cannot be understood" in message for message in messages) == 3
    assert sum("there twice" in message for message in messages) == 2


def test_a_table_that_is_no_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("sample,state\na,accepted\n", encoding="utf-8")
    journal = Journal(tmp_path)
    assert journal.refresh() == []
    assert "Is not a journal" in journal.problems[0].message


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path).append([step()])
    path = next(tmp_path.glob("*.csv"))
    path.write_text(path.read_text("utf-8").replace(",1\n", ",2\n"), encoding="utf-8")
    with pytest.raises(InputError, match="Update beadseg"):
        Journal(tmp_path).refresh()


def test_a_spreadsheet_reads_it(tmp_path: Path) -> None:
    import pandas as pd

    Journal(tmp_path).append([step("a", '=HYPERLINK(1), "x"\nnext')])
    table = pd.read_csv(next(tmp_path.glob("*.csv")), dtype=str, keep_default_na=False)
    assert tuple(table.columns) == STEP_COLUMNS
    assert table["why"].tolist() == ['\'=HYPERLINK(1), "x"\\nnext']


def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append([step("a")])
    for path in (tmp_path / "journal").iterdir():
        path.unlink()
    with pytest.raises(MachineError):
        journal.append([step("b")])
    journal.append([step("c")])
    assert [found.sample for found in read(tmp_path / "journal")] == ["c"]
