"""Two sets of beads side by side: hits, misses and false alarms in colours, with the scores."""

from beadseg.widgets.compare.widget import CompareWidget

__all__ = ["CompareWidget"]
