"""The trainings of the study: one change at a time around two presets, and what might make the collapse."""

from __future__ import annotations

from dataclasses import dataclass

SEEDS = (0, 1, 2)
FEW, MANY = 3, 109
"""Objects per image of the two kinds of data, as the document has them."""
COUNTS = (1, FEW, 10, 30, MANY)
"""Objects per image at which gradients are measured."""
SAME_AREA, SAME_SIZE = "same area", "same size"
"""More objects that cover as much in all (as the document's two data sets do), or more objects of one size."""
LOSSES = {
    "Dice": ("loss.kind=dice",),
    "focal": ("loss.kind=focal",),
    "cross-entropy": ("loss.kind=focal", "loss.gamma=0"),
    "Dice + cross-entropy": ("loss.kind=dice-ce",),
}
"""Losses whose gradients are measured."""

SMALL_NETWORK = ("network.width=8", "network.depth=4", "precision=fp32", "split.kind=stratified", "train_scores=2")
"""What makes every training of the study small; the split is the same for all variants of a seed."""
LAB = (*SMALL_NETWORK, "epoch.size=64", "batch=16", "epochs=30", "stop.patience=null")
"""The document's settings for 31 training images: 2 optimizer steps an epoch, as with 62 images in batches of 32."""
OWN = (*SMALL_NETWORK, "network.first_stride=1", "epoch.size=64", "epoch.steps=16", "epochs=5", "batch=8")
"""Our own preset for the same number of optimizer steps."""


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes
    ----------
    group, name : str
        Table, and row in it.
    data : str
        ``dense`` or ``sparse``.
    preset : str
        Packaged preset.
    changes : tuple of str
        ``field=value``, over those of `LAB` or `OWN`.
    momentum : float or None
        Share of the new batch in the running statistics of batch norm; torch's 0.1 when None. Keras' 0.99 is 0.01 here.
    """

    group: str
    name: str
    data: str
    preset: str
    changes: tuple[str, ...] = ()
    momentum: float | None = None

    @property
    def settings(self) -> tuple[str, ...]:
        """All changes of the preset."""
        return (*(OWN if self.preset == "dense" else LAB), *self.changes)


KERAS = 0.01
"""Keras' default momentum of batch norm, 0.99, as torch counts it."""

_AROUND_LAB: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "lr 5e-5": ("optimizer.lr=5e-5",),
    "lr 1e-3": ("optimizer.lr=1e-3",),
    "lr 1e-2": ("optimizer.lr=1e-2",),
    "batch 4, 8 steps an epoch": ("batch=4",),
    "batch 4, as many steps in all": ("batch=4", "epochs=8"),
    "focal": ("loss.kind=focal",),
    "Dice + cross-entropy": ("loss.kind=dice-ce",),
    "Dice + focal": ("loss.kind=dice-focal",),
    "instance norm": ("network.norm=instance",),
    "input background": ("image.norm.kind=background",),
    "input zscore": ("image.norm.kind=zscore",),
    "dropout 0": ("network.dropout=0",),
    "flips and turns": ("augment.flip=0.5", "augment.rotate90=0.5"),
    "90 epochs": ("epochs=90",),
}
_AROUND_OWN: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "lr 2e-4": ("optimizer.lr=2e-4",),
    "lr 2e-2": ("optimizer.lr=2e-2",),
    "batch 2": ("batch=2",),
    "Dice": ("loss.kind=dice",),
    "focal": ("loss.kind=focal",),
    "cross-entropy per pixel": ("loss.ce_per_area=null",),
    "instance norm": ("network.norm=instance",),
    **{f"input {norm}": (f"image.norm.kind={norm}",) for norm in ("range", "zscore", "percentile")},
    "dropout 0.3": ("network.dropout=0.3",),
}
_RATES = {"lr 1e-4": (), "lr 1e-3": ("optimizer.lr=1e-3",), "lr 1e-2": ("optimizer.lr=1e-2",)}


FIRST = ("as it is", "lr 1e-3", "lr 1e-2")
"""Variants around the `microbeads` preset that are trained before all others."""


def in_order() -> list[tuple[Cell, int]]:
    """Return every training with its seed: what bears on the collapse for all seeds, then the rest seed by seed."""
    first = [cell for cell in cells() if cell.group in ("sparse", "collapse") or _early(cell)]
    rest = [cell for cell in cells() if cell not in first]
    return [(cell, seed) for group in (first, rest) for seed in SEEDS for cell in group]


def _early(cell: Cell) -> bool:
    return cell.group == "microbeads" and cell.name in FIRST


def cells() -> list[Cell]:
    """Return every training, in the order of the tables."""
    kinds = ("dense", "sparse")
    found = [
        *(Cell("microbeads", name, "dense", "microbeads", changes) for name, changes in _AROUND_LAB.items()),
        *(Cell("sparse", name, "sparse", "microbeads", changes) for name, changes in _RATES.items()),
        *(Cell("collapse", f"mitochondria preset, {data}", data, "mitochondria") for data in kinds),
        *(
            Cell("collapse", f"mitochondria preset, {data}, Keras' momentum", data, "mitochondria", momentum=KERAS)
            for data in kinds
        ),
        *(
            Cell("collapse", f"microbeads preset, {name}, Keras' momentum", "dense", "microbeads", changes, KERAS)
            for name, changes in _RATES.items()
        ),
        Cell("collapse", "microbeads preset, lr 1e-3, 90 epochs, Keras' momentum", "dense", "microbeads",
             ("optimizer.lr=1e-3", "epochs=90"), KERAS),
        *(Cell("dense", name, "dense", "dense", changes) for name, changes in _AROUND_OWN.items()),
    ]  # fmt: skip
    return found
