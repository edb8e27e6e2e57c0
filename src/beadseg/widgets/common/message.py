"""Errors and news as text inside the widget, in colours readable in the light and the dark theme.

No window pops up, and nothing shows a traceback.
"""

from __future__ import annotations

import inspect
import logging
import re
from contextlib import contextmanager
from functools import wraps
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

from qtpy.QtCore import Qt, QTimer, QUrl, Signal
from qtpy.QtGui import QImage, QTextCursor, QTextDocument
from qtpy.QtWidgets import (
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QTextBrowser,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

import beadseg
from beadseg.errors import BeadsegError, Cancelled, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOG = logging.getLogger("beadseg")
_NAME = "beadsegMessage"
_IN_WINDOW = (
    (r"Use --again to predict (them )?again", "Tick “again what was counted before” to count them again"),
    (r"--set (\S+?)=(\S+?)(?=[\s.,;)`]|$)", r"the setting \1 = \2"),
    (r"--config (\S+)", r"the settings of \1"),
    (r"(a new|another|the) --out folder", r"\1 folder for the results"),
    (r"--out folder", "folder for the results"),
    (r"--device (\S+?)(?=[\s.,;)`]|$)", r"the device \1 (in the preferences)"),
    (r"fewer --threads", "fewer threads (in the preferences)"),
    (r"--(in|ex)clude", r"the command's option --\1clude"),
)
"""Options of the command that messages of the core name, and what a window has in their place."""

HELP_PX = 640
"""Width of pictures in the help."""
LINES = 4
"""So many lines of a message are seen at once."""
T = TypeVar("T")

Tone = Literal["info", "good", "warning", "error"]
"""How a message is meant."""

TINT: Final[dict[Tone, tuple[int, int, int]]] = {
    "info": (66, 133, 214),
    "good": (52, 158, 88),
    "warning": (214, 148, 30),
    "error": (214, 64, 56),
}
"""Red, green, blue of a tone; strong enough as a line on white and on dark grey."""
GROUND_ALPHA = 55
"""Opacity of the tinted ground, of 255: text on it keeps its contrast in both themes."""


def plain_tip(text: str) -> str:
    """Return a name as a tool tip that shows it as it is: Qt takes what looks like HTML for HTML."""
    return f"<qt>{escape(text)}</qt>"


def in_window(text: str) -> str:
    """Return a message of the core in the words of a window, which has fields in place of a command's options."""
    for option, field in _IN_WINDOW:
        text = re.sub(option, field, text)
    return text


def keep_place(part: QWidget) -> None:
    """Keep the place of a part free while it is hidden, so that nothing moves under the mouse when it is shown."""
    policy = part.sizePolicy()
    policy.setRetainSizeWhenHidden(True)
    part.setSizePolicy(policy)


class MessageArea(QFrame):
    """One message with its tone and a button that hides it.

    Its place is kept free while there is none, so that a message moves nothing; a long one scrolls.
    """

    changed = Signal(str)
    """The new text; empty when the message was hidden."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(_NAME)
        self._tone: Tone = "info"
        self._label = QLabel()
        self._label.setWordWrap(True)
        self._label.setTextFormat(Qt.TextFormat.PlainText)
        self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._label.setAlignment(Qt.AlignmentFlag.AlignTop)
        area = QScrollArea()
        area.setObjectName("beadsegMessageText")
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setStyleSheet("QScrollArea, QScrollArea > QWidget > QWidget { background: transparent; }")
        area.setWidget(self._label)
        hide = QToolButton()
        hide.setText("✕")
        hide.setAutoRaise(True)
        hide.setToolTip("Hide this message")
        hide.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        hide.clicked.connect(self.clear)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 4, 2, 4)
        row.addWidget(area, 1)
        row.addWidget(hide, 0, Qt.AlignmentFlag.AlignTop)
        self.setFixedHeight(LINES * self.fontMetrics().lineSpacing() + 16)
        keep_place(self)
        self.setVisible(False)

    @property
    def text(self) -> str:
        """What is shown now; empty when nothing is."""
        return str(self._label.text())

    @property
    def tone(self) -> Tone:
        """How the message is meant."""
        return self._tone

    def show_text(self, text: str, tone: Tone = "info") -> None:
        """Show a message in place of the one before."""
        text = in_window(text)
        self._tone = tone
        self.setStyleSheet(framed(tone, _NAME))
        self._label.setText(text)
        self.setToolTip(plain_tip(text))
        self.setVisible(bool(text))
        self.changed.emit(text)

    def show_error(self, error: BaseException) -> None:
        """Show what went wrong; a failure that beadseg did not foresee is also logged with its traceback."""
        if not isinstance(error, BeadsegError | MemoryError | OSError):
            _LOG.error("Unexpected failure in a widget", exc_info=error)
        self.show_text(text_of(error), "info" if isinstance(error, Cancelled) else "error")

    def clear(self) -> None:
        """Hide the message."""
        self.show_text("")


def text_of(error: BaseException) -> str:
    """Return one readable sentence for any error."""
    if isinstance(error, BeadsegError):
        return str(error)
    if isinstance(error, MemoryError):
        return "Not enough memory. Close other layers or programs, or use a smaller image."
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}."
    return f"Unexpected failure in beadseg ({type(error).__name__}: {error}). Details are in the terminal."


@contextmanager
def shown(messages: MessageArea) -> Iterator[None]:
    """Show what is raised inside, instead of raising it."""
    try:
        yield
    except Exception as error:
        messages.show_error(error)


class _HasMessages(Protocol):
    messages: MessageArea


def guarded(method: Callable[..., T]) -> Callable[..., T | None]:
    """Make a widget's method a slot that never raises: errors go to ``self.messages``.

    Arguments of a signal that the method does not take (such as ``checked``) are dropped.
    """
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = sum(parameter.kind in positional for parameter in inspect.signature(method).parameters.values()) - 1

    @wraps(method)
    def slot(self: _HasMessages, *values: Any, **named: Any) -> T | None:
        try:
            return method(self, *values[:taken], **named)
        except Exception as error:
            self.messages.show_error(error)
            return None

    return slot


def framed(tone: Tone, name: str) -> str:
    """Return a style sheet for the widget called `name`: tinted ground and a line of full colour at its left."""
    red, green, blue = TINT[tone]
    return (
        f"#{name} {{ background-color: rgba({red}, {green}, {blue}, {GROUND_ALPHA}); border: none; "
        f"border-left: 3px solid rgb({red}, {green}, {blue}); border-radius: 3px; }} "
        f"#{name} QLabel {{ background-color: transparent; }}"
    )


def docs_page(name: str) -> Path:
    """Return a page of the documentation, such as ``napari.md``: in the installed package, else in the source folder.

    Raises
    ------
    InputError
        It is in neither.
    """
    package = Path(beadseg.__file__).parent
    for folder in (package / "docs", package.parents[1] / "docs"):
        if (folder / name).is_file():
            return folder / name
    raise InputError("This page of the documentation is not installed.", name, "Install beadseg again.")


class HelpButton(QToolButton):
    """Opens a part of the page about the viewer.

    Parameters
    ----------
    part : str
        Its heading.
    """

    def __init__(self, part: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._part = part
        self.window_: HelpWindow | None = None
        """The window that was opened last."""
        self.setText("Help")
        self.setToolTip(f"Read about {part}")
        self.setAutoRaise(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.clicked.connect(self._open)

    def _open(self) -> None:
        self.window_ = HelpWindow(self.window())
        self.window_.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.window_.show()
        self.window_.show_part(docs_page("napari.md"), self._part)


class HelpWindow(QDialog):
    """Shows the documentation that is installed with the package."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("beadseg: help")
        self.resize(HELP_PX + 60, 640)
        self.page = _Page()
        self.page.setOpenExternalLinks(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.page)

    def show_part(self, page: Path, heading: str) -> None:
        """Show a page from a heading on."""
        self.page.setSource(QUrl.fromLocalFile(str(page)))
        QTimer.singleShot(0, lambda: self.page.go_to(heading))  # its pictures are laid out when it is seen


class _Page(QTextBrowser):
    """Markdown with pictures that fit, and links to headings."""

    def loadResource(self, kind: int, name: QUrl) -> Any:
        """Return pictures in a width that fits."""
        found = super().loadResource(kind, name)
        if kind == QTextDocument.ResourceType.ImageResource.value:
            picture = QImage(self.source().resolved(name).toLocalFile())
            if not picture.isNull():
                return picture.scaledToWidth(min(HELP_PX, picture.width()), Qt.TransformationMode.SmoothTransformation)
        return found

    def doSetSource(self, name: QUrl, type: Any = QTextDocument.ResourceType.UnknownResource) -> None:
        """Follow a link, also to a heading of a page."""
        super().doSetSource(name, type)
        if name.hasFragment():
            self.go_to(name.fragment())

    def go_to(self, heading: str) -> None:
        """Show a heading at the top."""
        document = self.document()
        if document is None:
            return
        block = document.begin()
        while block.isValid():
            if block.blockFormat().headingLevel() and _slug(block.text()) == _slug(heading):
                self.setTextCursor(QTextCursor(block))
                layout, bar = document.documentLayout(), self.verticalScrollBar()
                if layout is not None and bar is not None:
                    bar.setValue(round(layout.blockBoundingRect(block).top()))
                return
            block = block.next()


def _slug(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
