"""Images whose process died: free them for others, and give up one that many died of."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from beadseg.claim import STALE, last_beat, read, remove_dead
from beadseg.cluster.share.parts import Part, write_part
from beadseg.data.hashes import signature_of
from beadseg.events import Event, OnEvent, log

if TYPE_CHECKING:
    from collections.abc import Callable

    from beadseg.cluster.share.listing import Item, Share

MOST_DEATHS = 3
"""An image that so many processes died of is not tried again."""


def take_from_dead(
    share: Share, item: Item, has_ended: Callable[[str], bool], on_event: OnEvent, stale: float = STALE
) -> bool:
    """Free an image whose process is dead; return whether it was. One that many died of is given up."""
    path = share.claim_path(item)
    owner, beat = read(path), last_beat(path)
    reason = remove_dead(path, has_ended, stale)
    if not reason:
        return False
    if owner is not None and owner.ran_out_of_time(beat):
        told = f"{item.name}: taken over from {owner} (its job's time was up; a longer walltime may be needed)."
        on_event(log(told, "warning"))
        return True
    on_event(log(f"{item.name}: taken over from {owner or 'an unknown process'} ({reason}).", "warning"))
    token = owner.token if owner else secrets.token_hex(8)
    path.with_name(f"{item.index:06d}.died-{token}").touch()
    if len(share.deaths(item)) >= MOST_DEATHS:
        give_up(share, item, f"{MOST_DEATHS} processes died while they predicted it.", on_event)
    return True


def give_up(share: Share, item: Item, reason: str, on_event: OnEvent) -> None:
    """Write that an image failed since processes died of it."""
    error = f"{item.path}: {reason} Does it fit into memory?"
    write_part(share.folder, item.index, Part([], error, signature_of(item.path), []))
    on_event(failed(item, error))


def failed(item: Item, error: str) -> Event:
    """Return the event that says that an image failed."""
    return Event("failure", f"Failed: {error}", "error", {"image": str(item.path)})
