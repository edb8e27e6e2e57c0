"""Write corrected masks beside the audit, for a person to accept; or accept a class of them in the review."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import tifffile

from beadseg import files
from beadseg.annotation.audit.codes import CORRECTABLE, Code
from beadseg.annotation.audit.correction import Correction, correction
from beadseg.annotation.audit.document import Audit, Proposal
from beadseg.annotation.review import Review, new_id
from beadseg.data.image_io import read_labels, read_mask
from beadseg.errors import ConfigError, ImageError
from beadseg.events import OnEvent, StopFlag, ignore, log, track
from beadseg.files import ensure_folder, write_atomically
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.annotation.review.step import Kind
    from beadseg.data.dataset import Dataset


def propose(
    audit: Audit, dataset: Dataset, out: Path, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> Audit:
    """Write a corrected mask for every sample that has one, and return the audit with the proposals; write that too.

    Parameters
    ----------
    audit : Audit
        Findings about `dataset`.
    dataset : Dataset
        Nothing in its folder is changed.
    out : pathlib.Path
        The audit's folder: masks go to ``proposals/``, bool ones as PNG (0 and 255), labels as TIFF (uint32).
    on_event, stop
        See `beadseg.events`.

    Raises
    ------
    MachineError
        The folder cannot be written.
    Cancelled
        `stop` was set.
    """
    names = list(dict.fromkeys(f.sample for f in audit.findings if f.code in CORRECTABLE and f.severity != "note"))
    made = []
    for name in track(names, "proposals", len(names), on_event, stop):
        try:
            corrected = correction(audit, dataset, name)
        except ImageError as error:
            on_event(log(str(error), "warning"))
            continue
        if corrected is not None:
            made.append(_written(corrected, out))
    result = audit.replace(proposals=tuple(made))
    result.write(out)
    on_event(log(f"{len(made)} corrected masks proposed, {len(names) - len(made)} would not fit better."))
    return result


def _written(corrected: Correction, out: Path) -> Proposal:
    folder = ensure_folder(out / files.PROPOSALS)
    if corrected.mask.dtype == np.bool_:
        path = folder / f"{corrected.sample}.png"
        write_atomically(path, iio.imwrite("<bytes>", corrected.mask.astype(np.uint8) * 255, extension=".png"))
    else:
        path = folder / f"{corrected.sample}.tif"
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, corrected.mask.astype(np.uint32), compression="zlib", metadata=None, software=False)
        write_atomically(path, buffer.getvalue())
    return Proposal(
        sample=corrected.sample,
        codes=corrected.codes,
        file=f"{files.PROPOSALS}/{path.name}",
        before=corrected.before,
        after=corrected.after,
        why=corrected.why,
    )


def known_codes(text: str) -> tuple[Code, ...]:
    """Read ``"shift,soft"``; raises `ConfigError` for what cannot be corrected."""
    given = [word.strip() for word in text.split(",") if word.strip()]
    found = tuple(code for code in CORRECTABLE if code in given)
    unknown = [word for word in given if word not in CORRECTABLE]
    if unknown or not found:
        what = f"{unknown[0]!r} cannot be corrected." if unknown else "No code is given."
        raise ConfigError(what, "--apply", f"Give some of {', '.join(CORRECTABLE)}.")
    return found


def apply(
    audit: Audit, dataset: Dataset, out: Path, codes: Sequence[Code], by: str | None = None, on_event: OnEvent = ignore
) -> tuple[str, ...]:
    """Accept proposals in the data set's review, and return the samples that were corrected.

    Parameters
    ----------
    audit : Audit
        With proposals, as `propose` returns it.
    dataset : Dataset
        Whose review is written; its masks stay as they are, and every correction can be undone there.
    out : pathlib.Path
        The audit's folder.
    codes : sequence of str
        A proposal is accepted when all that it corrects is among these, and nobody has decided about the sample yet.
    by : str, optional
        Who accepts; the user of the machine when None.
    on_event
        See `beadseg.events`.

    Raises
    ------
    ImageError
        A proposal cannot be read.
    MachineError
        The review cannot be written.
    """
    review = Review.open(dataset)
    states = review.states()
    accepted, decided = [], []
    group = new_id()
    for proposal in audit.proposals:
        if not set(proposal.codes) <= set(codes):
            continue
        if states[proposal.sample].state != "pending":
            decided.append(proposal.sample)
            continue
        path = out / proposal.file
        found = read_labels(path) if path.suffix == ".tif" else read_mask(path)
        mask = found.foreground if found.labels is None else found.labels
        kind: Kind = "mask" if found.labels is None else "labels"
        why = f"audit {', '.join(proposal.codes)}: {proposal.why}"
        review.correct(proposal.sample, mask, by=by, why=why, kind=kind, group=group)
        accepted.append(proposal.sample)
    if decided:
        on_event(
            log(
                f"{plural(len(decided), 'sample')} decided about before, "
                f"and left as they are: {', '.join(decided[:5])}."
            )
        )
    on_event(log(f"{len(accepted)} corrected masks accepted in the review; undo with `beadseg-batch review`."))
    return tuple(accepted)
