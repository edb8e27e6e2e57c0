"""What a person can do with a sample, each with its key, which napari's labels layers leave free. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Action:
    """An action.

    Attributes
    ----------
    name : str
        Name in the program.
    key : str
        Single key.
    text : str
        On its button.
    help : str
        Tooltip.
    """

    name: str
    key: str
    text: str
    help: str

    @property
    def label(self) -> str:
        """Text with the key."""
        return f"{self.text} ({self.key})"

    @property
    def tooltip(self) -> str:
        """Help with the key."""
        return f"{self.help} Key: {self.key}"


ACTIONS: Final = (
    Action("accept", "A", "Accept", "The mask is right as it is: train on it."),
    Action("reject", "R", "Reject", "The annotation cannot be used: leave it out of training."),
    Action("correct", "C", "Correct", "Save what is shown, your strokes or the proposal, as the corrected mask."),
    Action("skip", "S", "Skip", "Decide later: on to the next one."),
    Action("back", "Q", "Back", "To the sample before this one in the queue."),
    Action("undo", "U", "Undo", "Take back the last stroke; without strokes, your last decision, also an old one."),
    Action("redo", "Y", "Redo", "Put in force again what the last undo of a decision took back."),
    Action("comment", "N", "Comment", "Write why; Enter goes back to the image. It is kept with the decision."),
    Action("beads", "D", "Bead tool", "Click: add a bead fitted to the image. Click on a bead: remove it. Drag from "
           "one bead to the next, or across: separate them. Hold Space to move the image."),
    Action("ignore", "I", "Ignore", "Drag a box over what is neither bead nor background, such as dirt or blur: "
           "training and scores leave it out. Undo takes it back."),
    Action("outline", "O", "Outline", "Show the mask as outline or filled."),
    Action("compare", "T", "Compare", "Mask, proposed correction, both in turns, both side by side."),
    Action("place", "W", "Where", "Go to the place of the finding; again: the next finding, then the whole image."),
)  # fmt: skip
"""All actions, in the order of the keys' legend."""

ACTION: Final = {action.name: action for action in ACTIONS}
"""Actions by name."""
