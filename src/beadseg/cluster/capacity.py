"""Whether any node of a cluster can ever give what a job asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_NOT_OF_A_NODE = ("mpiprocs", "ompthreads", "place", "preempt_targets")


def chunks(select: str) -> list[tuple[int, dict[str, str]]]:
    """Return the chunks of a select line: how many of each, and what each asks for."""
    found = []
    for chunk in select.split("+"):
        words = chunk.split(":")
        count = int(words.pop(0)) if words[0].isdigit() else 1
        found.append((count, dict(word.split("=", 1) for word in words if "=" in word)))
    return found


def never_fits(select: str, nodes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return why no node can ever run one of the chunks of `select`, or ``""``.

    Parameters
    ----------
    select : str
        As after ``-l select=``.
    nodes : mapping
        Attributes of every node, see `beadseg.cluster.pbs.nodes`.
    """
    offers = {name: values.get("resources_available", {}) for name, values in nodes.items()}
    if not offers:
        return ""
    for _, wanted in chunks(select):
        asked = {name: value for name, value in wanted.items() if name not in _NOT_OF_A_NODE}
        if any(all(_has(offer, name, value) for name, value in asked.items()) for offer in offers.values()):
            continue
        for name, value in asked.items():
            if not any(_has(offer, name, value) for offer in offers.values()):
                most = max((offer for offer in offers.values() if name in offer), default=None,
                           key=lambda offer: amount(str(offer[name])) or 0)  # fmt: skip
                has = "none has any" if most is None else f"the most that one has is {most[name]}"
                return f"no node has {name}={value}: {has}"
        together = ", ".join(f"{name}={value}" for name, value in asked.items())
        return f"no single node has {together} together"
    return ""


def amount(text: str) -> float | None:
    """Return a number, or a size such as ``240gb`` in bytes; None for a word."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgtp]?)([bw]?)", text.lower())
    if match is None:
        return None
    return float(match[1]) * float(1024 ** _UNITS[match[2]]) * (8 if match[3] == "w" else 1)


def _has(offer: Mapping[str, Any], name: str, value: str) -> bool:
    """Return whether a node offers a resource: as much of it, or this word among its words."""
    if name not in offer:
        return False
    there, wanted = str(offer[name]), amount(value)
    if wanted is None or amount(there) is None:
        return value in there.split(",")
    return (amount(there) or 0) >= wanted
