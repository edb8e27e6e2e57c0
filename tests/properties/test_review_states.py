"""The review as a state machine: sessions that come and go, undo and redo, lines that a kill cut off."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from beadseg import files
from beadseg.annotation.review.store import Review
from beadseg.errors import InputError

NAMES = ("a", "b", "c")
SAMPLE, DECISION = st.sampled_from(NAMES), st.sampled_from(["accepted", "rejected", "pending"])
SESSION = st.integers(0, 2)


class Sessions(RuleBasedStateMachine):
    """Three sessions of one folder; the model remembers per sample what is in force and what was undone."""

    @initialize()
    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        for folder in (files.IMAGES, files.MASKS):
            (self.root / folder).mkdir()
            for name in NAMES:
                iio.imwrite(self.root / folder / f"{name}.png", np.eye(8, dtype=np.uint8) * 255)
        self.sessions = [Review.open(self.root) for _ in range(3)]
        self.done: dict[str, list[str]] = {name: [] for name in NAMES}
        self.undone: dict[str, list[str]] = {name: [] for name in NAMES}
        self.steps = 0

    def teardown(self) -> None:
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    @rule(session=SESSION, sample=SAMPLE, state=DECISION, why=st.text(max_size=9))
    def decide(self, session: int, sample: str, state: str, why: str) -> None:
        (step,) = self.sessions[session].decide(sample, state, by=f"p{session}", why=why)  # type: ignore[arg-type]
        assert self.sessions[session].history(sample)[-1] == step
        self.done[sample].append(state)
        self.undone[sample].clear()
        self.steps += 1

    @rule(session=SESSION, sample=SAMPLE, fill=st.booleans())
    def correct(self, session: int, sample: str, fill: bool) -> None:
        mask = np.full((8, 8), 255 * fill, np.uint8)
        self.sessions[session].correct(sample, mask, by=f"p{session}", kind="mask")
        assert (self.sessions[session].state(sample).sample.read_mask().foreground == fill).all()
        self.done[sample].append("corrected")
        self.undone[sample].clear()
        self.steps += 1

    @rule(session=SESSION, sample=SAMPLE)
    def undo(self, session: int, sample: str) -> None:
        try:
            self.sessions[session].undo(sample)
        except InputError:
            assert not self.done[sample]
            return
        self.undone[sample].append(self.done[sample].pop())
        self.steps += 1

    @rule(session=SESSION, sample=SAMPLE)
    def redo(self, session: int, sample: str) -> None:
        try:
            self.sessions[session].redo(sample)
        except InputError:
            assert not self.undone[sample]
            return
        self.done[sample].append(self.undone[sample].pop())
        self.steps += 1

    @rule(session=SESSION)
    def open_again(self, session: int) -> None:
        self.sessions[session] = Review.open(self.root)

    @rule(session=SESSION, rest=st.binary(min_size=1, max_size=30).filter(lambda data: b"\n" not in data))
    def killed_while_writing(self, session: int, rest: bytes) -> None:
        """A session ends with half a line on the disk; another one takes its place."""
        before = {path.name for path in self.journal()}
        self.sessions[session].decide("a", "rejected")
        self.done["a"].append("rejected")
        self.undone["a"].clear()
        self.steps += 1
        newest = [path for path in self.journal() if path.name not in before] or self.journal()
        with max(newest, key=lambda path: path.stat().st_mtime_ns).open("ab") as file:
            file.write(rest)
        for at in range(len(self.sessions)):  # whoever wrote that file is dead
            self.sessions[at] = Review.open(self.root)

    def journal(self) -> list[Path]:
        return sorted((self.root / files.REVIEW / files.JOURNAL).glob("*.csv"))

    @invariant()
    def everybody_sees_the_same(self) -> None:
        if not hasattr(self, "root"):
            return
        for review in (*self.sessions, Review.open(self.root)):
            states = review.states()
            assert {name: state.state for name, state in states.items()} == {
                name: (done[-1] if done else "pending") for name, done in self.done.items()
            }
            assert not any(state.conflicts for state in states.values())
            assert sum(state.steps for state in states.values()) == self.steps, "nothing is lost, nothing is twice"


TestSessions = Sessions.TestCase
