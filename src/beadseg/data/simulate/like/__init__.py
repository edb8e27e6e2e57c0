"""Images that look like those of a given data set: measure it, and draw new ones with known truth."""

from beadseg.data.simulate.like.document import Likeness
from beadseg.data.simulate.like.fit import measure
from beadseg.data.simulate.like.render import Appearance, LikeSeriesConfig, LikeTile, plan_like, render, write_like

__all__ = ["Appearance", "LikeSeriesConfig", "LikeTile", "Likeness", "measure", "plan_like", "render", "write_like"]
