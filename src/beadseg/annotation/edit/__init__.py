"""Change instance labels bead by bead: add one fitted to the image, remove one, separate two that touch."""

from beadseg.annotation.edit.fit import Bead, fit_bead
from beadseg.annotation.edit.patch import Patch, difference
from beadseg.annotation.edit.tools import added, removed, separated, tidied

__all__ = ["Bead", "Patch", "added", "difference", "fit_bead", "removed", "separated", "tidied"]
