"""What happens to the processes of a Train widget that is closed, also when napari quits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qtpy.QtWidgets import QCheckBox

    from beadseg.widgets.train.overlay import ValidationOverlay
    from beadseg.widgets.train.planner import Planner
    from beadseg.widgets.train.session import Session


class Ending:
    """Ends helpers at once; lets a training go on or stops it, as the box says. Holds no Qt object that must live.

    Called when the widget is destroyed, and when the application quits; the second call does nothing.
    """

    def __init__(self, session: Session, planner: Planner, overlay: ValidationOverlay, keep: QCheckBox) -> None:
        self._parts: tuple[Planner | ValidationOverlay, ...] = (planner, overlay)
        self._session: Session | None = session
        self._keep = True
        keep.toggled.connect(self._set_keep)

    def __call__(self) -> None:
        """End what is to be ended."""
        for part in self._parts:
            part.end_processes()
        if self._session is not None:
            self._session.end_processes(keep=self._keep)
        self._parts, self._session = (), None

    def _set_keep(self, keep: bool) -> None:
        self._keep = keep
