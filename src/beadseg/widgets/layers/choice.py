"""A box to choose one of the viewer's layers, always up to date with the layer list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QWidget

from beadseg.widgets.layers.events import connect_while_alive

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Layer


class LayerChoice(QComboBox):
    """Offers the layers of some kinds.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers.
    kinds : tuple of type
        Classes of the layers that are offered.
    none : str, optional
        Text of a first entry that stands for no layer; there is none when empty.
    accepts : callable, optional
        Tells of a layer of these kinds whether it is offered.
    """

    layer_changed = Signal(object)
    """The layer chosen now, or None."""
    offer_changed = Signal()
    """Other layers than before, or other names, can be chosen."""

    def __init__(
        self,
        viewer: ViewerModel,
        kinds: tuple[type[Any], ...],
        none: str = "",
        accepts: Callable[[Any], bool] = lambda layer: True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._kinds, self._none, self._accepts = viewer, kinds, none, accepts
        self._told: Layer | None = None
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed, events.reordered):
            connect_while_alive(self, event, self.refill)
        self.currentIndexChanged.connect(self._tell)
        self.refill()

    @property
    def layer(self) -> Layer | None:
        """The layer chosen now."""
        return self.currentData() if self.count() else None

    @layer.setter
    def layer(self, layer: Layer | None) -> None:
        for index in range(self.count()):
            if self.itemData(index) == layer:  # not `is`: the viewer hands out proxies of its layers
                self.setCurrentIndex(index)

    def refill(self) -> None:
        """Take over the layer list; what was chosen stays chosen."""
        chosen = self.layer
        self.blockSignals(True)
        self.clear()
        if self._none:
            self.addItem(self._none, None)
        for layer in reversed(self._viewer.layers):  # the topmost first, as in the list
            if isinstance(layer, self._kinds) and self._accepts(layer):
                self.addItem(str(layer.name), layer)
        self.blockSignals(False)
        self.layer = chosen
        self.offer_changed.emit()
        self._tell()

    def _tell(self) -> None:
        if self.layer != self._told:
            self._told = self.layer
            self.layer_changed.emit(self._told)
