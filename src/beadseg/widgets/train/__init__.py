"""Train in the viewer: plan, child process, curves."""

from beadseg.widgets.train.widget import TrainWidget

__all__ = ["TrainWidget"]
