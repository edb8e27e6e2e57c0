"""Two people review 1,000 samples in one folder while their programs are killed at random; nothing may be lost.

    python benchmarks/review.py --samples 1000 --kills 60

Each of two processes accepts, rejects, corrects and takes back decisions on every sample, and notes each one when the
call has returned. SIGKILL ends them at random moments of their work; they are started again until both are through.
Then everything noted must be in the review, every file whole, every original untouched. Exit code 0 only if so.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd

from beadseg import files
from beadseg.annotation.review import Review, SampleReview, Step, write_table
from beadseg.data.dataset import Dataset
from beadseg.data.image_io import read_mask

PEOPLE = ("ada", "ben")
TABLE_EVERY = 25
"""Number of decisions after which a person's program rewrites the spreadsheet table."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=60, help="in all; no more are needed after both are through")
    parser.add_argument("--between", type=float, default=0.6, help="longest time between two kills, s of work")
    parser.add_argument("--seed", type=int, default=None, help="of the random moments; chosen at random by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "beads"
        before = _make(root, arguments.samples)
        started = time.perf_counter()
        kills = _torture(root, arguments.kills, arguments.between, random.Random(arguments.seed))
        seconds = time.perf_counter() - started
        print(f"{sum(kills.values())} kills ({dict(kills)}), {seconds:.1f} s in all")
        faults = _verify(root, before)
    sys.exit(1 if faults else 0)


def _make(root: Path, samples: int) -> dict[str, str]:
    """Write the dataset; return the hash of every file in it."""
    y, x = np.mgrid[:32, :32]
    for folder in (files.IMAGES, files.MASKS):
        (root / folder).mkdir(parents=True)
    for number in range(samples):
        mask = ((y - 8 - number % 16) ** 2 + (x - 16) ** 2 <= 16).astype(np.uint8) * 255
        iio.imwrite(root / files.IMAGES / f"tile_{number}.png", 200 - mask // 2)
        iio.imwrite(root / files.MASKS / f"tile_{number}.png", mask)
    return _hashes(root)


def _hashes(root: Path) -> dict[str, str]:
    paths = sorted((root / folder / path.name) for folder in (files.IMAGES, files.MASKS) for path in
                   (root / folder).iterdir())  # fmt: skip
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def work(root: Path, person: str, notes: Path) -> None:
    """Decide on every sample that this person has not decided on yet, in an order of their own."""
    review = Review.open(root)
    names = list(review.dataset.names)
    seen = review.states()  # what is on this person's screen; the other one goes on meanwhile
    random.Random(person).shuffle(names)
    open_ones = [name for name in names if not any(step.by == person for step in review.history(name))]
    with notes.open("ab", buffering=0) as file:
        for done, name in enumerate(open_ones, start=1):
            for step in _decide(review, seen[name], person):
                file.write(f"{step}\n".encode())
            if done % TABLE_EVERY == 0:
                write_table(review)
    write_table(review)


def _decide(review: Review, seen: SampleReview, person: str) -> list[str]:
    """Make one or two steps on a sample; return their ids."""
    name = seen.name
    choice = random.Random(f"{person} {name}")
    why = choice.choice(["", "sharp", '=cmd(), "quoted"\nsecond line', "µ"])
    action = choice.choices(["accept", "reject", "correct", "undo"], [4, 2, 3, 1])[0]
    if action == "correct":
        mask = np.zeros((32, 32), np.uint32)
        mask[4:10, 4:10] = 1
        mask[20:26, 12:18] = choice.randint(2, 9)
        return [review.correct(name, mask, by=person, why=why, kind="labels", seen=seen).step]
    steps = review.decide(name, "rejected" if action == "reject" else "accepted", by=person, why=why, seen=seen)
    if action == "undo":
        steps += review.undo(name, by=person)
    return [step.step for step in steps]


def _torture(root: Path, most: int, between: float, moments: random.Random) -> Counter[str]:
    """Run both people's programs to the end, killing one of them at a time; return the kills by person."""
    context = multiprocessing.get_context("forkserver")  # starts in no time: the libraries are loaded once
    context.set_forkserver_preload(["beadseg.annotation.review"])
    kills: Counter[str] = Counter()

    def start(person: str) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=work, args=(root, person, root.parent / person))
        process.start()
        return process

    running = {person: (start(person), _noted(root, person)) for person in PEOPLE}
    while running:
        person = moments.choice(sorted(running))
        process, before = running[person]
        while process.is_alive() and _noted(root, person) == before:  # a kill before the first step proves nothing
            time.sleep(0.01)
        process.join(moments.uniform(0, between) if sum(kills.values()) < most else None)
        if process.is_alive():
            process.kill()
        process.join()
        if process.exitcode == 0:
            running.pop(person)
            continue
        if process.exitcode != -signal.SIGKILL:
            sys.exit(f"{person}'s program ended with {process.exitcode}")
        kills[person] += 1
        running[person] = start(person), _noted(root, person)
    return kills


def _noted(root: Path, person: str) -> int:
    """Return how many bytes of notes a person has."""
    path = root.parent / person
    return path.stat().st_size if path.exists() else 0


def _verify(root: Path, before: dict[str, str]) -> int:
    """Print what there is and what is missing; return the number of faults."""
    review = Review.open(root)
    states = review.states()
    steps = {step.step: step for name in states for step in review.history(name)}
    noted = {person: (root.parent / person).read_text().split() for person in PEOPLE}
    lost = [step for ids in noted.values() for step in ids if step not in steps]
    undecided = [(name, person) for name in states for person in PEOPLE
                 if not any(step.by == person for step in review.history(name))]  # fmt: skip
    damaged = [step.mask for step in steps.values() if step.action == "correct" and not _whole(root, step)]
    changed = [path for path, value in _hashes(root).items() if before.get(path) != value]
    other = {name: state.state for name, state in Review(Dataset.open(root)).states().items()}
    table = pd.read_csv(root / files.REVIEW / files.REVIEW_TABLE, dtype=str, keep_default_na=False)
    differing = sum(state.state != other[name] for name, state in states.items())
    differing += table["state"].tolist() != [state.state for state in states.values()]
    journals = sorted((root / files.REVIEW / files.JOURNAL).glob("*.csv"))
    torn = sum(not path.read_bytes().endswith(b"\n") for path in journals)
    everything = sum(len(ids) for ids in noted.values())
    print(
        f"{len(states)} samples, {len(steps)} steps in {len(journals)} journals, {torn} of them with a torn last line"
    )
    print(f"states: {dict(Counter(state.state for state in states.values()))}, "
          f"{sum(bool(state.conflicts) for state in states.values())} shown as in conflict")  # fmt: skip
    print(f"acknowledged: {everything}, of these lost: {len(lost)}; written but killed before acknowledged: "
          f"{len(steps) - everything}")  # fmt: skip
    print(f"samples not decided on by both: {len(undecided)}")
    print(f"rows that cannot be read: {len(review.problems)}; damaged masks: {len(damaged)}; "
          f"originals changed: {len(changed)}; states that differ between readers: {differing}")  # fmt: skip
    return len(lost) + len(undecided) + len(damaged) + len(changed) + len(review.problems) + int(differing)


def _whole(root: Path, step: Step) -> bool:
    path = root / step.mask
    good = hashlib.sha256(path.read_bytes()).hexdigest() == step.mask_sha256
    return good and read_mask(path).labels is not None


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
