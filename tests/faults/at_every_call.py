"""Kill beadseg at every system call that changes a file, let those calls fail, and look at what is left.

    python tests/faults/at_every_call.py                 # everything: `make test-faults`
    python tests/faults/at_every_call.py review import   # these write paths only
    python tests/faults/at_every_call.py train --part 2/5  # of its calls the second, seventh, twelfth …

For every write path an undisturbed run is traced by strace, which lists each call that changes something in its folder
(create, write, rename, delete, flush …). Then the path is run once per call and killed there (SIGKILL, before the call
is done), and again with the call refused: ENOSPC (disk full), EIO (disk broken), EROFS (read-only). Afterwards

- what was accepted before is there,
- every file is whole or absent,
- an error is a sentence with a remedy, never a traceback,
- the same command ends with the same result as the undisturbed run.

This process imports once what an undisturbed run imports, and forks for every case; the child stops itself until strace
holds it. The trials of a sweep are forked too, in place of new interpreters. Linux only.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CREATE, CHANGE = (
    ("open", "openat", "creat", "mkdir", "mkdirat"),
    ("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
)
DELETE, WRITE = (
    ("unlink", "unlinkat", "rmdir"),
    ("write", "pwrite64", "writev", "pwritev", "sendfile", "copy_file_range", "ftruncate", "truncate", "fallocate"),
)
FLUSH = ("fsync", "fdatasync")
CALLS = (*CREATE, *CHANGE, *DELETE, *WRITE, *FLUSH)
POSSIBLE = {"ENOSPC": {*CREATE, *CHANGE, *WRITE, *FLUSH}, "EIO": set(CALLS), "EROFS": {*CREATE, *CHANGE, *DELETE}}
"""Which calls a file system can refuse in which way."""

LINE = re.compile(r"^(\d+ +)?(\w+)\((.*)")

TIME = rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?"

TINY = ["epochs=2", "epoch.steps=2", "epoch.size=64", "batch=2", "network.width=8", "network.depth=3",
        "precision=fp32", "predict.precision=fp32", "optimizer.lr=1e-2"]  # fmt: skip
SETS = [word for each in TINY for word in ("--set", each)]


@dataclass(frozen=True)
class Call:
    """The `number`-th call (from 1) of a kind that one thread makes, and what it was about."""

    name: str
    number: int
    about: str


@dataclass
class WritePath:
    """A command, or function, that writes in a folder.

    Attributes
    ----------
    run : callable
        Does it in the folder given, and returns an exit code.
    prepare : callable
        Fills the folder with what is there before.
    result : callable
        Returns what must be the same afterwards, by name.
    kept : callable
        Returns what is wrong with what was accepted before; empty when all is there.
    threads : bool
        Trace and disturb all threads and child processes, not the main thread alone.
    thorough : bool
        Refuse every call in every way; else in one, by turns.
    """

    name: str
    run: Callable[[Path], int]
    prepare: Callable[[Path], None]
    result: Callable[[Path], dict[str, Any]]
    kept: Callable[[Path], str] = lambda folder: ""
    threads: bool = True
    thorough: bool = True


@dataclass
class Tally:
    """What became of the cases of one write path."""

    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def traced(path: WritePath, folder: Path, log: Path, inject: str = "") -> tuple[int, str]:
    """Run a write path in a child that strace holds; return its exit code (-9: killed) and what it printed."""
    said = folder.parent / "said.txt"
    child = os.fork()
    if not child:
        _become(path, folder, said)
    os.waitpid(child, os.WUNTRACED)
    log.unlink(missing_ok=True)
    options = ["-f"] if path.threads else []
    options += ["-e", f"inject={inject}"] if inject else []
    strace = subprocess.Popen(
        ["strace", *options, "-qq", "-y", "-s", "0", "-o", str(log), "-e", f"trace={','.join(CALLS)}", "-p", str(child)]
    )
    while not log.exists() or "stopped by SIGSTOP" not in log.read_text(
        errors="replace"
    ):  # from then on nothing escapes it
        assert strace.poll() is None, "strace could not attach"
        time.sleep(0.001)
    os.kill(child, signal.SIGCONT)
    _, status = os.waitpid(child, 0)
    strace.wait()
    return os.waitstatus_to_exitcode(status), said.read_text(errors="replace")


def plain(path: WritePath, folder: Path, learn: bool = False) -> tuple[int, str]:
    """Run a write path in a child that nothing disturbs, and import what it imported if so told."""
    said, modules = folder.parent / "said.txt", folder.parent / "modules.txt"
    child = os.fork()
    if not child:
        _become(path, folder, said, stop=False, modules=modules if learn else None)
    _, status = os.waitpid(child, 0)
    if learn:
        for name in modules.read_text().splitlines():
            with suppress(Exception):
                importlib.import_module(name)
    return os.waitstatus_to_exitcode(status), said.read_text(errors="replace")


def _become(path: WritePath, folder: Path, said: Path, stop: bool = True, modules: Path | None = None) -> None:
    """Be the child: print into a file, wait for strace, do it, and end without what the parent would do at its end."""
    code, forked = 70, multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: forked  # type: ignore[assignment]
    try:
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(fd, "wb", 0), write_through=True) for fd in (1, 2))
        if stop:
            os.kill(os.getpid(), signal.SIGSTOP)
        code = int(path.run(folder))
        if modules is not None:
            modules.write_text("\n".join(sys.modules))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def calls_in(log: Path, folder: Path) -> list[Call]:
    """Return the calls of a trace that change something in a folder, with their numbers."""
    numbers: Counter[tuple[str, str]] = Counter()
    found: dict[tuple[str, int], Call] = {}
    for line in log.read_text(errors="replace").splitlines():
        match = LINE.match(line)
        if not match:
            continue
        process, name, rest = match.groups()
        numbers[process, name] += 1
        changes = name not in ("open", "openat") or re.search(r"O_(CREAT|TRUNC|WRONLY|RDWR)", rest)
        if changes and str(folder) in rest and not re.search("ENOENT|EEXIST", rest):
            call = Call(name, numbers[process, name], rest.split(str(folder), 1)[1][:60])
            found.setdefault((name, call.number), call)
    return list(found.values())


def damaged(folder: Path) -> list[str]:
    """Return the files that are not whole: of each kind what a reader of it would refuse."""
    wrong = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".beadseg-") for part in path.relative_to(folder).parts):
            try:
                _read_whole(path)
            except Exception as error:
                wrong.append(f"{path.relative_to(folder)}: {type(error).__name__} {error}")
    return wrong


def _read_whole(path: Path) -> None:
    import imageio.v3 as iio
    import pandas as pd
    import tifffile
    import yaml
    from safetensors import safe_open

    suffix = path.suffix.lower()
    if suffix == ".json":
        json.loads(path.read_bytes())
    elif suffix in (".yaml", ".yml"):
        yaml.safe_load(path.read_text("utf-8"))
    elif suffix == ".csv" and path.parent.name != "journal":  # a journal passes over a last line that was cut off
        assert path.read_bytes().endswith(b"\n"), "its last line is cut off"
    elif suffix == ".parquet":
        pd.read_parquet(path)
    elif suffix == ".png":
        iio.imread(path)
    elif suffix in (".tif", ".tiff"):
        tifffile.imread(path)
    elif suffix == ".zip":
        assert zipfile.ZipFile(path).testzip() is None
    elif suffix == ".html":
        assert path.read_text("utf-8").rstrip().endswith("</html>"), "its end is missing"
    elif suffix == ".safetensors":
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118
                file.get_tensor(name)


def tree(folder: Path) -> dict[str, Any]:
    """Return the bytes of every finished file below a folder; the lock of a process that has ended locks nothing."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock.json"]
    names = {path: str(path.relative_to(folder)) for path in paths}
    return {name: path.read_bytes() for path, name in names.items() if ".beadseg-" not in name}


def disturb(path: WritePath, root: Path, part: tuple[int, int], end: float) -> Tally:
    """Run every case of a write path, or a part of them; return what became of them."""
    template, work, log = root / path.name / "before", root / path.name / "work", root / path.name / "log"
    template.mkdir(parents=True)
    path.prepare(template)

    def fresh() -> None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(template, work, symlinks=True)

    fresh()
    code, said = plain(path, work, learn=True)
    first = path.result(work)
    fresh()
    started = time.perf_counter()
    again, said = traced(path, work, log)
    assert code == again, f"{path.name}: undisturbed runs end with {code} and {again}: {said}"
    expected = path.result(work)
    volatile = {name for name in first if first[name] != expected.get(name)}
    calls = calls_in(log, work)
    assert code in (0, 5), said
    assert calls, f"{path.name}: no call was seen"
    print(
        f"{path.name}: {len(calls)} calls, {time.perf_counter() - started:.1f} s each way, exit code {code}"
        + (f"; different in every run, not compared: {', '.join(sorted(volatile))}" if volatile else ""),
        flush=True,
    )
    tally = Tally()
    for at, call in list(enumerate(calls))[part[0] - 1 :: part[1]]:
        errors = [error for error, names in POSSIBLE.items() if call.name in names]
        for kind in ["kill", *(errors if path.thorough else errors[at % len(errors) :][:1])]:
            if time.monotonic() > end:
                tally.kinds["not begun"] += 1
                continue
            fresh()
            how = "signal=KILL" if kind == "kill" else f"error={kind}"
            ended, said = traced(path, work, log, f"{call.name}:{how}:when={call.number}")
            wrong = _wrong(path, work, kind, ended, said, code, expected, volatile)
            tally.kinds[kind if ended == -9 or kind != "kill" else "not reached"] += 1
            if wrong:
                tally.failures.append(f"{path.name}, {kind} at {call.name} no. {call.number} ({call.about}): {wrong}")
                print(f"  FAILED {tally.failures[-1]}", flush=True)
    return tally


def _wrong(
    path: WritePath, work: Path, kind: str, ended: int, said: str, code: int, expected: dict[str, Any],
    volatile: set[str],
) -> str:  # fmt: skip
    """Return what a case broke, in words; empty when nothing."""
    if kind != "kill" and ("Traceback" in said or ended == 70):
        return f"a traceback: {said[-600:]}"
    if broken := damaged(work):
        return f"not whole: {broken}"
    if lost := path.kept(work):
        return f"lost: {lost}"

    def different() -> list[str]:
        found = path.result(work)
        return [name for name in expected | found if found.get(name) != expected.get(name) and name not in volatile]

    if kind != "kill" and ended == code and (names := different()):
        return f"ends like an undisturbed run, with another result: {names[:8]}"
    complete = not different()  # an import or export is then refused, as one into a full folder always is
    finished, text = plain(path, work)
    if finished != code and not (complete and finished == 2):
        return f"the same command then ends with {finished}: {text[-600:]}"
    return f"another result: {names[:8]}" if (names := different()) else ""


# --- The write paths --------------------------------------------------------------------------------------------------


def beadseg(*words: str | Path) -> int:
    """Run a command in this process."""
    from beadseg.cli.app import main

    return main([str(word) for word in words])


def write_paths(shared: Path) -> list[WritePath]:
    """Return every write path; what they all need is made in `shared`."""
    import numpy as np

    from beadseg.annotation.corrections import Correction, ids_of
    from beadseg.annotation.edit import Patch
    from beadseg.annotation.review.store import Review
    from beadseg.data.image_io import open_image, read_labels
    from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
    from beadseg.measure.beads import bead_table
    from beadseg.predict.counts import corrected_cells
    from beadseg.predict.tables import write_corrections

    scene = SceneConfig(height=64, width=64, beads=12, debris=0, channels="grey")
    data, run, space, few = shared / "data", shared / "run", shared / "space.yaml", shared / "few"
    write_dataset(data, SeriesConfig(scene=scene, tiles=4, dilutions=(80,), fields=2, seed=1))
    names = sorted(path.stem for path in (data / "images").iterdir())
    few.mkdir()
    for image in sorted((data / "images").iterdir())[:2]:
        shutil.copy(image, few)
    assert (
        _in_child(lambda: beadseg("train", data, "--out", run, "--quiet", "--threads", "1", "--device", "cpu", *SETS))
        == 0
    )
    space.write_text("method: {kind: grid}\nparameters: {optimizer.lr: [0.01, 0.02]}\n")
    assert (
        _in_child(lambda: beadseg("export", "labels", data, "--format", "coco", "--out", shared / "coco", "--quiet"))
        == 0
    )

    def dataset(folder: Path) -> None:
        shutil.copytree(data, folder / "data")

    def decided(folder: Path) -> None:
        dataset(folder)
        review = Review.open(folder / "data")
        review.decide(names[0], "accepted", by="before", why="looked at")
        review.correct(names[1], review.state(names[1]).sample.read_mask().labels, by="before", kind="labels")  # type: ignore[arg-type]

    def decisions(folder: Path) -> dict[str, Any]:
        states = Review.open(folder / "data").states()
        return {name: (state.state, state.why, state.by, state.origin, state.sample.has_labels,
                       state.sample.read_mask().foreground.tobytes()) for name, state in states.items()}  # fmt: skip

    def lost(folder: Path) -> str:
        review = Review.open(folder / "data")
        before = {name: [step for step in review.history(name) if step.by == "before"] for name in names[:2]}
        missing = [name for name, steps in before.items() if len(steps) != 1]
        gone = [str(path) for state in review.states().values() for path in state.missing]
        return ", ".join(missing + gone + [str(problem) for problem in review.problems])

    def correct(folder: Path) -> int:
        review = Review.open(folder / "data")
        mask = review.state(names[2]).sample.read_mask()
        assert mask.labels is not None
        moved = mask.labels.copy()
        moved[:3] = 0
        review.correct(names[2], moved, by="now", why="edge", kind="labels")
        if review.state(names[3]).sample.ignore_path is None:
            review.ignore(names[3], moved > 0, by="now")
        review.decide(names[0], "rejected", by="now", why="no")
        return 0

    def as_command(function: Callable[[Path], int]) -> Callable[[Path], int]:
        """Report errors as the command line does."""
        from beadseg.errors import BeadsegError

        def run_(folder: Path) -> int:
            try:
                return function(folder)
            except BeadsegError as error:
                with suppress(OSError):  # the call that is refused may be this one
                    print(error)
                return int(error.exit_code)

        return run_

    def array(folder: Path) -> None:
        """A prediction of two elements of an array, which nobody has merged."""
        from beadseg.cli.jobs import ELEMENT
        from beadseg.cluster.submit import freeze
        from beadseg.predict.batch import find_images

        freeze(folder / "out", find_images([few]))
        for element in range(2):
            os.environ[ELEMENT] = str(element)
            assert _in_child(lambda: merge(folder, "--chunk", "1")) in (0, 5)
            del os.environ[ELEMENT]

    def merge(folder: Path, *more: str) -> int:
        return beadseg(
            "predict",
            run,
            "--list",
            folder / "out/jobs/images.json",
            "--out",
            folder / "out",
            "--no-report",
            "--threads",
            "1",
            "--quiet",
            *more,
        )

    def out_tree(folder: Path) -> dict[str, Any]:
        """Files of measurements have names by chance; pages hold the time."""
        found = {name: value for name, value in tree(folder / "out").items() if not name.startswith("measurements/")}
        return {name: re.sub(TIME, b"", value) if name.endswith(".html") else value for name, value in found.items()}

    def improved(folder: Path) -> dict[str, Any]:
        """How many steps there are depends on the machine, and so do the weights."""
        out, noted = folder / "out", folder / "data/review/improve.json"
        whole = {"improvements": len(json.loads(noted.read_text())["improvements"])} if noted.exists() else {}
        return whole | dict.fromkeys(tree(out), True) if out.exists() else whole

    def predicted(folder: Path) -> None:
        """A prediction whose first image a person began to correct in a viewer that was killed."""
        shutil.copytree(shared / "predicted", folder / "out")

        def begin() -> int:
            correction = _correction(folder)
            correction.apply(_painted(correction.labels, 0))
            return 0

        assert _in_child(begin) == 0

    def corrected(folder: Path) -> int:
        """Go on with the correction, step by step, and save it."""
        correction = _correction(folder)
        correction.recover()
        for column in range(3):
            if not (correction.labels[:2, 8 * column : 8 * column + 4] == 900 + column).all():
                correction.apply(_painted(correction.labels, column))
        correction.undo()
        correction.redo()
        image, count = open_image(next(few.glob(f"{names[0]}.*"))), len(ids_of(correction.labels))
        cells = corrected_cells(count, "now", "2026-01-01T00:00:00Z", correction.labels.shape, None)
        planes = {"": (correction.labels.copy(), bead_table(correction.labels), cells)}
        write_corrections(folder / "out", names[0], image, planes, lambda plane: correction.labels)
        correction.forget_saved(correction.when)
        correction.close()
        return 0

    def unsaved(folder: Path) -> str:
        """What was painted before is in the file of unsaved strokes, or saved."""
        saved = folder / "out/corrected" / f"{names[0]}.tif"
        correction = _correction(folder)
        correction.recover()
        labels = read_labels(saved).labels if saved.exists() else correction.labels
        return "" if (np.asarray(labels)[:2, :4] == 900).all() else "the stroke that was painted before"

    def _correction(folder: Path) -> Correction:
        labels = np.asarray(read_labels(shared / "predicted/labels" / f"{names[0]}.tif").labels, np.uint32)
        return Correction(labels, folder / "unsaved", names[0], "now")

    def _painted(labels: Any, column: int) -> Patch:
        return Patch((slice(0, 2), slice(8 * column, 8 * column + 4)), np.full((2, 4), 900 + column, np.uint32))

    def predict(out: Path, *more: str) -> int:
        return beadseg("predict", run, few, "--out", out, "--no-report", "--threads", "1", "--quiet", *more)

    assert _in_child(lambda: predict(shared / "predicted")) in (0, 5)

    training = ("--threads", "1", "--device", "cpu", "--quiet", *SETS)
    return [
        WritePath(
            "review",
            lambda f: beadseg("review", f / "data", "accept", *names[2:], "--why", "good", "--by", "now", "--quiet"),
            decided,
            decisions,
            lost,
        ),
        WritePath("correct", as_command(correct), decided, decisions, lost),
        WritePath(
            "import",
            lambda f: beadseg(
                "import",
                "coco",
                shared / "coco/annotations.json",
                "--images",
                data / "images",
                "--out",
                f / "out",
                "--quiet",
            ),
            lambda f: None,
            out_tree,
        ),
        WritePath(
            "predict",
            lambda f: predict(f / "out", "--maps"),
            lambda f: None,
            out_tree,
            thorough=False,
        ),
        WritePath("merge", merge, array, out_tree),
        WritePath("corrected", as_command(corrected), predicted, out_tree, unsaved),
        WritePath(
            "export",
            lambda f: beadseg("export", "labels", data, "--format", "fiji-roi", "--out", f / "out", "--quiet"),
            lambda f: None,
            out_tree,
        ),
        WritePath(
            "simulate",
            lambda f: beadseg(
                "simulate",
                f / "out",
                "--tiles",
                "2",
                "--size",
                "64",
                "--beads",
                "12",
                "--dilutions",
                "80",
                "--fields",
                "1",
                "--quiet",
            ),
            lambda f: None,
            out_tree,
        ),
        WritePath(
            "audit",
            lambda f: beadseg("audit", f / "data", "--out", f / "out", "--propose", "--threads", "1", "--quiet"),
            dataset,
            out_tree,
            thorough=False,
        ),
        WritePath(
            "train",
            lambda f: beadseg("train", data, "--out", f / "out", "--checkpoint-minutes", "0.0001", *training),
            lambda f: None,
            out_tree,
            thorough=False,
        ),
        WritePath(
            "improve",
            lambda f: beadseg(
                "improve",
                f / "data",
                "--run",
                run,
                "--out",
                f / "out",
                "--seconds",
                "1",
                "--threads",
                "1",
                "--device",
                "cpu",
                "--quiet",
            ),
            decided,
            improved,
            lost,
            thorough=False,
        ),
        WritePath(
            "sweep",
            lambda f: beadseg("sweep", data, "--out", f / "out", "--space", space, *training),
            lambda f: None,
            out_tree,
            threads=False,
            thorough=False,
        ),
    ]


def _in_child(function: Callable[[], int]) -> int:
    """Run something heavy in a child, so that this process stays one that can be forked."""
    child = os.fork()
    if not child:
        code = 70
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = function()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> int:
    """Run the cases and print the table; return 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="write paths; all when none is given")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no case after this time")
    parser.add_argument("--part", default="1/1", metavar="K/N", help="every N-th call, from the K-th")
    given = parser.parse_args()
    end = time.monotonic() + 60 * given.minutes
    names, part = given.names, tuple(map(int, given.part.split("/")))
    if sys.platform != "linux" or shutil.which("strace") is None:
        print("This needs Linux and strace: apt-get install strace", file=sys.stderr)
        return 4
    os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="Agg", BEADSEG_BY="tester")
    for module in (
        "beadseg.training.run",
        "beadseg.predict.batch",
        "beadseg.report.run_page",
        "sklearn.model_selection",
    ):
        __import__(module)
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory() as scratch:
        shared = Path(scratch) / "shared"
        shared.mkdir()
        paths = [path for path in write_paths(shared) if not names or path.name in names]
        for path in paths:
            tallies[path.name] = disturb(path, Path(scratch), (part[0], part[1]), end)
    kinds = ("kill", "ENOSPC", "EIO", "EROFS")
    print(f"\n{'write path':<12}" + "".join(f"{kind:>8}" for kind in kinds) + f"{'all':>8}{'losses':>8}")
    for name, tally in tallies.items():
        numbers = [tally.kinds[kind] for kind in kinds]
        print(f"{name:<12}" + "".join(f"{n:>8}" for n in numbers) + f"{sum(numbers):>8}{len(tally.failures):>8}")
    sums = [sum(tally.kinds[kind] for tally in tallies.values()) for kind in kinds]
    left = sum(tally.kinds["not begun"] + tally.kinds["not reached"] for tally in tallies.values())
    losses = sum(len(tally.failures) for tally in tallies.values())
    print(f"{'all':<12}" + "".join(f"{n:>8}" for n in sums) + f"{sum(sums):>8}{losses:>8}")
    if left:
        print(f"{left} more were not begun in time, or not reached in a run that went another way")
    return int(losses > 0)


if __name__ == "__main__":
    sys.exit(main())
