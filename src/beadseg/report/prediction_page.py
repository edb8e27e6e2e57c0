"""The page of a prediction folder: counts with flags, bead sizes, pictures with outlines, and what made it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from beadseg import files
from beadseg.data.documents import inner, is_plain_name, read_document, with_unmerged
from beadseg.data.fields import PatternFields, fields_of, listed
from beadseg.data.image_io import read_image
from beadseg.data.scan import natural_key
from beadseg.errors import Cancelled, ImageError, InputError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.measure.appearance import APPEARANCE
from beadseg.predict.counts import COUNT_COLUMNS, TEXT_COLUMNS, sentence
from beadseg.predict.results import LABELS_IN_BLOCKS
from beadseg.predict.tables import FAILURE_COLUMNS, texts_of
from beadseg.report.figure import BLUE, GREY, ORANGE, label_of, new_figure, tidy
from beadseg.report.html import (
    Badge,
    Block,
    Chart,
    Charts,
    Column,
    Gallery,
    Items,
    Notice,
    Page,
    Picture,
    Row,
    Section,
    Table,
    Text,
    Verbatim,
    missing_pictures,
    picture_of,
)
from beadseg.report.samples import fullest_window
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MOST_PICTURES = 12
"""Images shown: flagged ones first, then the densest, the sparsest and one in the middle."""
MOST_FLAGGED = 8
"""Flagged ones among them."""
REMEDY = "Predict again."
_NOT_REAL = (*TEXT_COLUMNS, "beads", "height", "width")
"""Columns of counts that hold texts or whole numbers."""

MOST_BARS = 40
"""With more images, dots by field of view are drawn; with more fields than this, a histogram."""

WHOLE_SIDE = 768
"""Images up to this side are shown whole at full resolution, px."""
PART_SIDE = 384
"""Side of the part that is shown of larger ones, px."""


def write_prediction_page(
    folder: Path, on_event: OnEvent = ignore, stop: StopFlag | None = None, *, keep_fuller: str = ""
) -> Path:
    """Write ``report.html`` into a prediction folder and return its path; `keep_fuller` is that of `Page.write`.

    Raises
    ------
    InputError
        The folder's tables are missing or damaged.
    MachineError
        The folder is not writable.
    Cancelled
        `stop` was set.
    """
    counts = read_counts(folder)
    path = folder / files.FAILURES
    failures = texts_of(path, FAILURE_COLUMNS, REMEDY) if path.exists() else pd.DataFrame()
    made_by = read_document(folder / files.PREDICTION)
    page = Page(
        title=f"Predictions in {folder.resolve().name}",
        kind="Prediction",
        lead=_lead(counts, len(failures)),
        facts=_facts(counts, made_by),
        notices=_notices(counts, failures, made_by),
        sections=(
            Section("Beads", (_charts(folder, counts, made_by, on_event, stop),) if len(counts) else ()),
            _pictures(folder, counts, on_event, stop),
            _by_field(counts),
            Section("By image", (_images(counts),) if len(counts) else ()),
            _failed(failures),
            Section("What made it", (*_model(made_by),)),
        ),
        source=folder.resolve(),
    )
    return page.write(folder / files.REPORT_PAGE, keep_fuller)


def read_counts(folder: Path) -> pd.DataFrame:
    """Return ``counts.csv`` with numbers as numbers, and the columns ``name`` (with plane) and ``field``.

    Raises
    ------
    InputError
        It is missing, damaged, or no table of predictions.
    """
    table = with_unmerged(texts_of(folder / files.COUNTS, COUNT_COLUMNS, REMEDY), folder)
    for name in (table["image"] + table["plane"]).unique():
        if not is_plain_name(name):
            text = f"Holds an image name that leads out of the folder: {files.printable(name)!r}."
            raise InputError(text, folder / files.COUNTS, "Use only predictions that you trust, or predict again.")
    try:
        for column in ("beads", "height", "width"):
            table[column] = pd.to_numeric(table[column]).astype(np.int64)
        if "corrected" not in table:
            table["corrected"] = ""
        for column in ("corrected", *(name for name in COUNT_COLUMNS if name not in _NOT_REAL)):
            table[column] = pd.to_numeric(table[column].where(table[column] != "")).astype(np.float64)
    except ValueError as error:
        text = f"Holds something that is not a number ({error})."
        raise InputError(text, folder / files.COUNTS, "Predict again.") from None
    fields = fields_of(table["image"].unique().tolist(), PatternFields())
    planes = table["plane"].map(lambda plane: f"_{plane}" if plane else "")
    table = table.assign(name=table["image"] + planes, field=table["image"].map(fields))
    order = sorted(range(len(table)), key=lambda at: natural_key(str(table["name"].iloc[at])))
    return table.iloc[order].reset_index(drop=True)


def _lead(counts: pd.DataFrame, failed: int) -> str:
    beads, flagged = int(counts["beads"].sum()), int((counts["flags"] != "").sum())
    found = f"{plural(beads, 'bead')} in {plural(len(counts), 'image')}"
    return f"{found}; {flagged or 'none'} flagged, {failed or 'none'} failed."


def _facts(counts: pd.DataFrame, made_by: dict[str, Any]) -> list[tuple[str, str]]:
    area = float((counts["height"] * counts["width"]).sum())
    corrected = counts[counts["corrected"].notna()]
    facts = [("Images", f"{len(counts):,}"), ("Fields of view", f"{counts['field'].nunique():,}")]
    if len(counts):
        facts += [
            ("Beads per image", f"{counts['beads'].mean():,.1f} ({counts['beads'].min():,} to "
                                f"{counts['beads'].max():,})"),
            ("Beads per megapixel", f"{counts['beads'].sum() / area * 1e6:,.1f}"),
        ]  # fmt: skip
    if len(corrected):
        text = f"{plural(len(corrected), 'image')}: {corrected['corrected'].sum():,.0f} beads"
        facts.append(("Corrected by hand", f"{text}, {corrected['beads'].sum():,} automatically"))
    if len(counts) and counts["pixel_size_um"].notna().all():
        millimetres = float((counts["height"] * counts["width"] * counts["pixel_size_um"] ** 2).sum()) / 1e6
        facts.append(("Beads per mm²", f"{counts['beads'].sum() / millimetres:,.1f}"))
    elif len(counts):
        facts.append(("Beads per mm²", "unknown: the images do not say their pixel size"))
    trained_on = inner(made_by, "fingerprint")
    measured = inner(trained_on, APPEARANCE).get("images")
    compared = "no: the model does not store what they looked like" if measured is None else f"yes, with {measured}"
    if trained_on.get("simulated"):
        compared = "no: the model learned from simulated images of many looks"
    return [*facts, ("Compared with training images", compared), ("Model", str(made_by.get("run", "unknown")))]


def _notices(counts: pd.DataFrame, failures: pd.DataFrame, made_by: dict[str, Any]) -> list[Notice]:
    notices = []
    flagged = counts[counts["flags"] != ""]
    if len(flagged):
        of = f"{len(flagged)} of {plural(len(counts), 'count')}"
        text = f"{of} flagged: look at these images before you use the numbers."
        commonest = flagged["flags"].value_counts()
        notices.append(Notice(text, f"Most often ({commonest.iloc[0]} x): {sentence(str(commonest.index[0]))}"))
    if len(failures):
        text = f"{plural(len(failures), 'image')} could not be predicted: no count."
        notices.append(Notice(text, "The list is below."))
    others = _with_other_options(counts, made_by)
    if others:
        text = f"{plural(len(others), 'image')} predicted with other options than the rest: counts are not comparable."
        notices.append(Notice(text, f"{listed(others)}. Predict all with the same options."))
    return notices


def _with_other_options(counts: pd.DataFrame, made_by: dict[str, Any]) -> list[str]:
    """Return the images whose results were made with another model or other options than most."""
    results = (
        inner(made_by, "results") if made_by.get("model_sha256") else {}
    )  # of one model, not of a cross-validation
    made_with = {str(name): inner(results, str(name)).get("made_with") for name in counts["image"].unique()}
    known = pd.Series([value for value in made_with.values() if value], dtype=object)
    usual = None if known.empty else known.mode().iloc[0]
    return [name for name, value in made_with.items() if value and value != usual]


def _charts(
    folder: Path, counts: pd.DataFrame, made_by: dict[str, Any], on_event: OnEvent, stop: StopFlag | None
) -> Charts:
    flagged = (counts["flags"] != "").tolist()
    by_image = counts_by_image_figure(
        counts["name"].tolist(), counts["field"].tolist(), counts["beads"].tolist(), flagged
    )
    pixel_size = counts["pixel_size_um"].unique()
    known = len(pixel_size) == 1 and np.isfinite(pixel_size[0])
    scale, unit = (float(pixel_size[0]), "µm") if known else (1.0, "px")
    trained_on = inner(made_by, "fingerprint")
    # A model of simulated images resamples every image: its own diameter says nothing about these beads.
    expected = None if trained_on.get("simulated") else trained_on.get("bead_diameter_px")
    diameters = _diameters(folder, counts, on_event, stop) * scale
    by_size = diameter_figure(diameters, unit, expected * scale if isinstance(expected, float | int) else None)
    return Charts((
        Chart(by_image, "Beads found. " + ("Orange: flagged." if any(flagged) else "")),
        Chart(by_size, f"Equivalent diameters of {plural(len(diameters), 'bead')}, without those cut by a border."),
    ))  # fmt: skip


def _diameters(folder: Path, counts: pd.DataFrame, on_event: OnEvent, stop: StopFlag | None) -> NDArray[np.float64]:
    """Return the diameters of all beads that no border cuts, px."""
    names = counts["image"].unique().tolist()
    found = [np.zeros(0)]
    for name in track(names, "bead tables", len(names), on_event, stop):
        try:
            table = pd.read_csv(folder / files.BEADS / f"{name}.csv", usecols=["equivalent_diameter_px", "edge"])
        except (OSError, ValueError):  # a table that was moved away; the counts stand in their own file
            continue
        found.append(table.loc[~table["edge"].astype(bool), "equivalent_diameter_px"].to_numpy(np.float64))
    return np.concatenate(found)


def _pictures(folder: Path, counts: pd.DataFrame, on_event: OnEvent, stop: StopFlag | None) -> Section:
    title = "Pictures"
    large = "Images that were predicted in blocks have no overlays; the viewer shows them."
    in_blocks = [(folder / files.LABELS / f"{image}{LABELS_IN_BLOCKS}").is_dir() for image in counts["image"]]
    if not (folder / files.OVERLAYS).is_dir():
        reason = large if any(in_blocks) else "The prediction was made without overlays (--no-overlays)."
        return Section(title, (Text(f"Left out: {reason[0].lower()}{reason[1:]}"),))
    chosen = [at for at in chosen_rows(counts) if not in_blocks[at]]
    pictures, missing = [], []
    for at in track(chosen, "pictures", len(chosen), on_event, stop):
        row = counts.iloc[at]
        try:
            pictures += overlay_pictures(folder, str(row["image"]), str(row["plane"]), _caption(row))
        except Cancelled:
            raise
        except (OSError, ValueError, InputError) as error:
            missing.append(f"{row['name']}: {error}")
    blocks: list[Block] = [Gallery(pictures)] if pictures else []
    if missing:
        on_event(missing_pictures(missing))
        blocks.append(Items(missing, "Not shown"))
    intro = "Outlines of what was found. Flagged images first, then the densest image, the sparsest, the middle."
    intro += f" {large}" if any(in_blocks) else ""
    return Section(title, blocks, f"{len(chosen)} of {plural(len(counts), 'image')}. {intro}")


def chosen_rows(counts: pd.DataFrame) -> list[int]:
    """Return which rows are shown: up to `MOST_FLAGGED` flagged ones, the densest, sparsest and middle ones."""
    flagged = [at for at, flags in enumerate(counts["flags"]) if flags][:MOST_FLAGGED]
    plain = np.argsort(counts["beads_per_mpx"].to_numpy(), kind="stable").tolist()
    by_turns: list[int] = []
    low, high = 0, len(plain) - 1
    while low <= high:
        by_turns += [plain[high], plain[low]]
        low, high = low + 1, high - 1
    if plain:
        by_turns.insert(2, plain[len(plain) // 2])
    return list(dict.fromkeys([*flagged, *by_turns]))[:MOST_PICTURES]


def _caption(row: pd.Series[Any]) -> str:
    density = f"{row['beads_per_mpx']:,.0f} per megapixel"
    if np.isfinite(row["beads_per_mm2"]):
        density += f", {row['beads_per_mm2']:,.0f} per mm²"
    text = f"{plural(row['beads'], 'bead')} ({density}), {row['coverage']:.0%} of the area."
    return f"{text} {sentence(row['flags'])}" if row["flags"] else text


def _by_field(counts: pd.DataFrame) -> Section:
    known = bool(counts["pixel_size_um"].notna().any())
    columns = [Column("Field of view"), Column("Images", "d"), Column("Beads", ",d"), Column("per image", ",.1f"),
               Column("SD", ",.1f", "Standard deviation between images"), Column("Fewest", ",d"), Column("Most", ",d"),
               Column("per megapixel", ",.1f"), *([Column("per mm²", ",.2f")] if known else []),
               Column("Flagged", "d")]  # fmt: skip
    rows: list[Row] = []
    for field, group in counts.groupby("field", sort=False):
        pixels = group["height"] * group["width"]
        millimetres = float((pixels * group["pixel_size_um"] ** 2).sum(skipna=False)) / 1e6
        beads = int(group["beads"].sum())
        rows.append((
            str(field), len(group), beads, float(group["beads"].mean()), float(group["beads"].std()),
            int(group["beads"].min()), int(group["beads"].max()), float(beads / pixels.sum() * 1e6),
            *([beads / millimetres] if known else []), int((group["flags"] != "").sum()),
        ))  # fmt: skip
    intro = "Tiles of one photograph are one field of view; their names say which."
    return Section("By field of view", (Table(columns, rows, complete_in=files.COUNTS),) if rows else (), intro)


def _images(counts: pd.DataFrame) -> Table:
    known = bool(counts["pixel_size_um"].notna().any())
    certain = bool(counts["beads_low"].notna().any())
    sized = bool(counts["diameter_px"].notna().any())
    by_hand = bool(counts["corrected"].notna().any())
    columns = [Column("Image"), Column("Beads", ",d"),
               *([Column("Corrected", ",.0f", "Beads after a person corrected them in the viewer")] if by_hand else []),
               *([Column("95 %", help="Beads that are there, given the errors of counting"),
                  Column("by area", ",.0f", "A second count, without separation")] if certain else []),
               Column("per megapixel", ",.1f"),
               *([Column("per mm²", ",.2f")] if known else []), Column("Coverage", ".1%", "Share of the area on beads"),
               *([Column("Diameter, px", ",.1f", "Bead diameter, measured by the model or given")] if sized else []),
               Column("Size, px"), Column("Result")]  # fmt: skip
    rows: list[Row] = [
        (row["name"], row["beads"], *([row["corrected"]] if by_hand else []),
         *(_certainty(row) if certain else ()), row["beads_per_mpx"],
         *([row["beads_per_mm2"]] if known else []), row["coverage"], *([row["diameter_px"]] if sized else []),
         f"{row['width']} x {row['height']}", Badge(row["flags"], "warn") if row["flags"] else Badge("not flagged"))
        for row in counts.to_dict("records")
    ]  # fmt: skip
    return Table(columns, rows, "All images", complete_in=files.COUNTS)


def _certainty(row: dict[Hashable, Any]) -> tuple[str | None, float]:
    """Return the interval of a count in words, and the second count."""
    low, high = row["beads_low"], row["beads_high"]
    return (None if np.isnan(low) else f"{low:,.0f} to {high:,.0f}"), row["beads_integral"]


def _failed(failures: pd.DataFrame) -> Section:
    entries = [str(error) for error in failures["error"]] if "error" in failures else []
    return Section("Images that failed", (Items(entries, "Images and reasons"),) if entries else ())


def _model(made_by: dict[str, Any]) -> list[Block]:
    options = inner(inner(made_by, "options"), "objects")
    facts = [
        ("Run", made_by.get("run", "unknown")),
        ("Network", inner(made_by, "network").get("kind", "unknown")),
        ("Arithmetic", made_by.get("precision", "unknown")),
        ("Device", made_by.get("device", "unknown")),
        *((f"Objects: {name.replace('_', ' ')}", value) for name, value in options.items()),
    ]
    others = _choices(made_by)
    if others:  # the settings below are those of the last image
        facts = [(name, value) for name, value in facts if not name.startswith("Objects: ")]
    rows = [(name, "as planned" if value is None else str(value)) for name, value in facts]
    caption = {key: value for key, value in made_by.items() if key != "results"}
    document = json.dumps(caption, indent=2, ensure_ascii=False)
    return [Table((Column("Setting"), Column("Value")), rows), *others, Verbatim("Complete description", document)]


def _choices(made_by: dict[str, Any]) -> list[Block]:
    """Return what an object was, image by image, where that is not the same for all."""
    chosen, results = inner(made_by, "chosen"), inner(made_by, "results")
    of_image = {name: str(inner(results, name).get("made_with", "")) for name in results}
    kinds = sorted(set(of_image.values()))
    if len(kinds) < 2 or not set(kinds) <= set(chosen):
        return []
    values = {key: inner(chosen, key) for key in kinds}
    fields = [name for name in values[kinds[0]] if len({str(value.get(name)) for value in values.values()}) > 1]
    columns = (Column("Image"), *(Column(f"Objects: {name.replace('_', ' ')}") for name in fields))
    rows = [
        (name, *("as planned" if (value := values[key].get(field)) is None else str(value) for field in fields))
        for name, key in of_image.items()
    ]
    return [Table(columns, rows, "Settings per image")]


def diameter_figure(diameters: NDArray[np.float64], unit: str, expected: float | None = None) -> Figure:
    """Return the histogram of bead diameters.

    Parameters
    ----------
    diameters : (N,) float
        Equivalent diameters; the longest one in a thousand stands outside the axis.
    unit : str
        ``px`` or ``µm``.
    expected : float, optional
        Diameter in the training data, in the same unit, drawn as a line.
    """
    figure = new_figure(5.6, 3.8)
    axes = figure.add_subplot()
    top = float(np.percentile(diameters, 99.9)) if len(diameters) else 1.0
    axes.hist(diameters, bins=np.linspace(0, 1.05 * max(top, expected or 0, 1e-9), 50).tolist(), color=BLUE)
    if len(diameters):
        middle = float(np.median(diameters))
        axes.axvline(middle, color=ORANGE, linewidth=2, label=f"median {middle:.2f} {unit}")
    if expected is not None:
        axes.axvline(expected, color=GREY, linewidth=1.5, linestyle="--", label=f"training data {expected:.2f} {unit}")
    axes.set(xlabel=f"equivalent diameter, {unit}", ylabel="beads", title="Bead diameters")
    tidy(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", frameon=False, fontsize=8)
    return figure


def counts_by_image_figure(
    images: Sequence[str], fields: Sequence[str], beads: Sequence[int], flagged: Sequence[bool]
) -> Figure:
    """Return the beads of every image: bars, dots by field of view, or a histogram, as their number allows.

    Parameters
    ----------
    images, fields : sequence of str
        Name and field of view of every image.
    beads : sequence of int
        Beads in every image.
    flagged : sequence of bool
        Images whose count is flagged, drawn in another colour.
    """
    if len(images) <= MOST_BARS:
        return _bars(images, beads, flagged)
    if len(set(fields)) <= MOST_BARS:
        return _dots(fields, beads, flagged)
    figure = new_figure(5.6, 3.8)
    axes = figure.add_subplot()
    axes.hist(list(beads), bins=40, color=BLUE)
    axes.set(xlabel="beads per image", ylabel="images", title=f"Beads in {plural(len(images), 'image')}")
    tidy(axes)
    return figure


def _bars(images: Sequence[str], beads: Sequence[int], flagged: Sequence[bool]) -> Figure:
    order = sorted(range(len(images)), key=lambda at: natural_key(images[at]), reverse=True)
    figure, axes = _rows(len(order))
    bars = axes.barh(range(len(order)), [beads[at] for at in order],
                     color=[ORANGE if flagged[at] else BLUE for at in order])  # fmt: skip
    axes.bar_label(bars, [f" {beads[at]:,}" for at in order], fontsize=7)
    axes.set_yticks(range(len(order)), [label_of(images[at]) for at in order], fontsize=7)
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set(title="Beads by image")
    return figure


def _dots(fields: Sequence[str], beads: Sequence[int], flagged: Sequence[bool]) -> Figure:
    names = sorted(set(fields), key=natural_key, reverse=True)
    figure, axes = _rows(len(names))
    row = {name: at for at, name in enumerate(names)}
    for marked, colour in ((False, BLUE), (True, ORANGE)):
        chosen = [at for at, flag in enumerate(flagged) if bool(flag) == marked]
        axes.plot([beads[at] for at in chosen], [row[fields[at]] for at in chosen], "o", color=colour, markersize=4,
                  alpha=0.5, rasterized=len(chosen) > 3000)  # fmt: skip
    means = [float(np.mean([b for b, f in zip(beads, fields, strict=True) if f == name])) for name in names]
    axes.plot(means, range(len(names)), "|", color="black", markersize=12, markeredgewidth=2, label="mean")
    axes.set_yticks(range(len(names)), [label_of(name) for name in names], fontsize=7)
    axes.set_xlim(left=0)
    axes.set(title="Beads per image")
    figure.legend(loc="outside lower center", frameon=False, fontsize=8)
    return figure


def _rows(count: int) -> tuple[Figure, Axes]:
    """Return a figure whose height goes with the number of rows."""
    figure = new_figure(5.6, max(2.2, min(9.0, 1.0 + 0.21 * count)))
    axes = figure.add_subplot()
    tidy(axes)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(-0.7, count - 0.3)
    axes.set_xlabel("beads")
    return figure, axes


def overlay_pictures(folder: Path, image: str, plane: str, caption: str) -> list[Picture]:
    """Return one or two pictures of an image with its outlines, from the folder's ``overlays/``.

    Parameters
    ----------
    folder : pathlib.Path
        The prediction folder.
    image, plane : str
        Name of the image, and of its plane or ``""``.
    caption : str
        What is said below it.

    Raises
    ------
    ImageError
        The overlay is missing, damaged, or no picture.
    """
    name = f"{image}_{plane}" if plane else image
    pixels = _read(folder / files.OVERLAYS / f"{name}.png")
    shape = pixels.shape[:2]
    if max(shape) <= WHOLE_SIDE:
        return [picture_of(_enlarged(pixels), name, caption)]
    window = fullest_window(_centres(folder / files.BEADS / f"{image}.csv", plane), shape, PART_SIDE)
    return [
        picture_of(pixels, name, f"{caption} Scaled down from {shape[1]} x {shape[0]} px.", side=WHOLE_SIDE),
        picture_of(_enlarged(pixels[window.slices]), f"{name}: its densest part", window.caption(shape)),
    ]


def _read(path: Path) -> NDArray[np.uint8]:
    image = read_image(path)
    if image.axes != "CYX" or image.data.dtype != np.uint8:
        raise ImageError("Is not an overlay.", path, "Predict again.")
    return np.ascontiguousarray(np.moveaxis(image.data, 0, -1))


def _enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return small pictures enlarged by a whole number, so that outlines of a pixel stay sharp."""
    scale = max(1, WHOLE_SIDE // max(pixels.shape[:2]))
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def _centres(path: Path, plane: str) -> NDArray[np.float64]:
    """Return the centres (y, x) of an image's beads, px; none where the table is not there."""
    try:
        table = pd.read_csv(path, dtype={"plane": str})
        chosen = table[table["plane"] == plane] if plane else table
        centres: NDArray[np.float64] = chosen[["y", "x"]].to_numpy(np.float64)
    except (OSError, ValueError, KeyError):
        return np.zeros((0, 2))
    return centres
