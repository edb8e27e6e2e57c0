"""What a person can do with a sample, each with its key, on the viewer and on the layers whose keys come first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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
    Action("beads", "D", "Bead tool", "Click: add a bead fitted to the image. Click on a bead: remove it. Drag across "
           "a bead: separate it. Drag from one bead into another: merge them. Hold Space to move the image."),
    Action("ignore", "I", "Ignore", "Drag a box over what is neither bead nor background, such as dirt or blur: "
           "training and scores leave it out. Undo takes it back."),
    Action("outline", "O", "Outline", "Show the mask as outline or filled."),
    Action("compare", "T", "Compare", "Mask, proposed correction, both in turns, both side by side."),
    Action("place", "W", "Where", "Go to the place of the finding; again: the next finding, then the whole image."),
)  # fmt: skip
"""All actions, in the order of the keys' legend."""

ACTION: Final = {action.name: action for action in ACTIONS}
"""Actions by name."""


class Keys:
    """Binds every action's key, until it gives the keys back.

    Parameters
    ----------
    press : callable
        Gets the name of the action.
    actions : sequence of Action
        Whose keys; by default those of Review.
    """

    def __init__(self, press: Callable[[str], None], actions: Iterable[Action] = ACTIONS) -> None:
        self._press, self._actions = press, tuple(actions)
        self._bound: list[Any] = []
        self._replaced: list[tuple[dict[Any, Any], dict[Any, Any]]] = []

    def bind(self, providers: Iterable[Any]) -> None:
        """Bind the keys on the viewer and these layers; what was bound before and is still there stays."""
        for provider in providers:
            if any(provider is known for known in self._bound):
                continue
            before = dict(provider.keymap)
            for action in self._actions:
                provider.bind_key(action.key, self._handler(action.name), overwrite=True)
            self._bound.append(provider)
            ours = {key: bound for key, bound in provider.keymap.items() if before.get(key) is not bound}
            self._replaced.append((ours, before))

    def release(self) -> None:
        """Give the keys back to whom they belonged before; one that was bound again meanwhile stays so."""
        for provider, (ours, before) in zip(self._bound, self._replaced, strict=True):
            for key, bound in ours.items():
                if provider.keymap.get(key) is not bound:
                    continue
                if key in before:
                    provider.keymap[key] = before[key]
                else:
                    del provider.keymap[key]
        self._bound, self._replaced = [], []

    def _handler(self, name: str) -> Callable[[Any], None]:
        def handle(provider: Any) -> None:
            self._press(name)

        return handle
