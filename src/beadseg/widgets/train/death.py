"""Why a process ended that could not say it itself, and what to do about it. Knows no Qt."""

from __future__ import annotations

import signal
from contextlib import suppress

_REMEDIES = {
    "train": "use a smaller batch or patch, or close other programs. What was finished is kept.",
    "predict": "close other programs, or predict by smaller tiles (tiling.tile). Images that were finished are kept.",
}
"""What to do when a command's memory ran out."""
_OTHERWISE = "close other programs, then try again."
_SHELL = 128
"""A shell tells of a signal by this plus its number."""


def was_killed(code: int | None) -> bool:
    """Tell whether the system ended a process with this exit code; None where the code is not known."""
    return code is None or code < 0 or code == _SHELL + 9  # signal.SIGKILL, which Windows lacks


def why_killed(code: int | None, command: str) -> str:
    """Return a message about the end of ``beadseg-batch COMMAND``."""
    how = f"was ended by the system ({_name(code)})" if code else "exited without an error message"
    return f"The process {how}. Often the memory ran out: {_REMEDIES.get(command, _OTHERWISE)}"


def _name(code: int) -> str:
    number = -code if code < 0 else code - _SHELL
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
