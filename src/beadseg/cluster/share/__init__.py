"""One batch of images, predicted by any number of processes on any number of machines.

They need nothing in common but the prediction folder: a frozen list of images, one claim per image that is being
worked on, and one part per image that is done. Whoever finds all parts there merges them into the tables that one
process would have written.
"""

from beadseg.cluster.share.listing import Item, Share, begin, close, join, withdraw
from beadseg.cluster.share.work import Patience, predict_shared

__all__ = ["Item", "Patience", "Share", "begin", "close", "join", "predict_shared", "withdraw"]
