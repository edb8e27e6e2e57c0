"""Training: the loop, checkpoints, what a run notices about itself, the run folder."""

from beadseg.training.run import Run, train

__all__ = ["Run", "train"]
