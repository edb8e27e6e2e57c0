"""A simulated dataset that looks like a measured one, on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.data.simulate.like.series import LikeSeriesConfig, plan_like
from beadseg.data.simulate.write import refuse_full, write_tiles
from beadseg.events import OnEvent, StopFlag, ignore
from beadseg.files import LIKENESS, ensure_folder

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from beadseg.data.simulate.like.document import Likeness


def write_like(
    out: Path, likeness: Likeness, series: LikeSeriesConfig, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> pd.DataFrame:
    """Simulate a dilution series that looks like a measured data set, and write it as a dataset folder.

    Parameters
    ----------
    out : pathlib.Path
        A new or empty folder. Gets what `beadseg.data.simulate.write_dataset` writes, and ``likeness.json``. The two
        JSON files are all it takes to make it again. ``defocus_px`` stays empty in ``truth.csv``: the measured
        templates hold the blur.
    likeness : Likeness
        What was measured.
    series : LikeSeriesConfig
        What to simulate.
    on_event, stop
        See `beadseg.events`.

    Raises
    ------
    InputError
        When the folder is not empty, a dilution is named twice, there are fewer tiles than fields of view, or an
        image has no room for its beads.
    MachineError
        When the disk is full or the folder not writable.
    Cancelled
        When `stop` is set; the images written so far stay, without ``truth.csv`` and ``scenes.json``.
    """
    tiles = plan_like(likeness, series)
    refuse_full(out)
    ensure_folder(out)
    recipe = {"like": LIKENESS, "like_series": series.model_dump(mode="json")}
    truth = write_tiles(out, tiles, recipe, on_event, stop)
    likeness.write(out / LIKENESS)
    return truth
