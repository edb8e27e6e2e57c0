"""Predict one image of a shared batch: its results appear together, and only while it is this process' to predict."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.claim import Owner, create, kept_alive, read
from beadseg.cluster.share.dead import failed
from beadseg.cluster.share.parts import Part, write_part
from beadseg.data.hashes import signature_of
from beadseg.errors import BeadsegError, Cancelled, MachineError
from beadseg.events import OnEvent, StopFlag, log
from beadseg.files import ensure_folder
from beadseg.predict.batch import made_with, reason_of, told
from beadseg.predict.results import KINDS, predict_file, publish
from beadseg.predict.tables import described

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.cluster.share.listing import Item, Share
    from beadseg.predict.predictor import Predictor


class Claim(StopFlag):
    """An image that this process predicts; as a flag it stops the work when another process took the image over.

    Parameters
    ----------
    path : pathlib.Path
        The file that claims the image.
    owner : Owner
        What this process wrote there.
    outer : StopFlag, optional
        What stops the whole batch.
    """

    def __init__(self, path: Path, owner: Owner, outer: StopFlag | None) -> None:
        super().__init__()
        self.path, self.owner, self._outer = path, owner, outer

    def __bool__(self) -> bool:
        return super().__bool__() or bool(self._outer)

    @property
    def mine(self) -> bool:
        """Whether the image still is this process'."""
        return read(self.path) == self.owner

    def ended(self, what: str = "", where: Path | str | None = None) -> Cancelled:
        """Return the error that ends the work."""
        return self._outer.ended(what, where) if self._outer else super().ended(what, where)


def attempt(
    predictor: Predictor, share: Share, item: Item, heartbeat: float, on_event: OnEvent, stop: StopFlag | None
) -> bool:
    """Predict an image if it is not done and nobody has it; return whether it is done."""
    if share.part(item) is not None:
        return True
    path, owner = share.claim_path(item), Owner.this_process()
    if not create(path, owner):
        return False
    claim = Claim(path, owner, stop)
    with kept_alive(path, owner, heartbeat, lambda other: claim.set()):
        if share.part(item) is not None:  # finished a moment ago
            return True
        return predict_item(predictor, share, item, claim, on_event)


def predict_item(predictor: Predictor, share: Share, item: Item, claim: Claim, on_event: OnEvent) -> bool:
    """Predict an image into the folder and write its part; return False when another process took it over.

    The results are made in a folder of their own and moved when they are complete. Two processes that do so with one
    image at once do no harm: each file is whole at any time, and what they write is the same. Where not the image is
    wrong but something else, as the memory of this machine, it is left for a second try, and False returned as well.

    Raises
    ------
    Cancelled
        The batch is stopped.
    MachineError
        The folder cannot be written to.
    """
    stage = share.folder / files.SHARE / files.STAGES / f"{item.index:06d}-{claim.owner.token}"
    signature = signature_of(item.path)
    wanted = [*KINDS[:3], *([files.OVERLAYS] if share.overlays else []), *([files.MAPS] if share.maps else [])]
    rows, error, unexpected, result = [], None, False, {}
    try:
        try:
            result = described(item.path, made_with(predictor, share.model_sha256), wanted)
            rows = predict_file(predictor, item.path, item.name, ensure_folder(stage), overlays=share.overlays,
                                maps=share.maps, on_event=on_event, stop=claim)  # fmt: skip
        except (Cancelled, MachineError) as end:
            return _lost(item, claim, on_event, end)
        except Exception as problem:  # one bad image never stops the rest, whatever is wrong with it
            error = reason_of(problem, item.path)
            unexpected = not isinstance(problem, BeadsegError)
        if not claim.mine:
            return _lost(item, claim, on_event)
        if unexpected and _first_time(claim):
            on_event(log(f"{error} It is tried once more, maybe elsewhere.", "warning"))
            return False
        results = [] if error else sorted(p.relative_to(stage).as_posix() for p in stage.rglob("*") if p.is_file())
        publish(stage, share.folder, results)
        write_part(share.folder, item.index, Part(rows, error, signature, results, result))
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    on_event(told(item.name, rows) if error is None else failed(item, error))
    return True


def _lost(item: Item, claim: Claim, on_event: OnEvent, end: BeadsegError | None = None) -> bool:
    """Say that another process has the image now; raise `end` where that is not why the work ended."""
    if end is not None and claim.mine:
        raise end
    on_event(log(f"{item.name}: another process took it over meanwhile; what was begun here is dropped.", "warning"))
    return False


def _first_time(claim: Claim) -> bool:
    """Note that an image failed for another reason than itself; return whether that is new."""
    mark = claim.path.with_suffix(".tried")
    if mark.exists():
        return False
    mark.touch()
    return True
