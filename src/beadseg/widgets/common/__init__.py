"""What all widgets stand on: messages in the interface, work in the background, a row that shows its progress."""

from beadseg.widgets.common.background import Background, ProgressRow, temporary_folder
from beadseg.widgets.common.message import HelpButton, MessageArea, guarded, in_window, plain_tip, shown, text_of

__all__ = [
    "Background",
    "HelpButton",
    "MessageArea",
    "ProgressRow",
    "guarded",
    "in_window",
    "plain_tip",
    "shown",
    "temporary_folder",
    "text_of",
]
