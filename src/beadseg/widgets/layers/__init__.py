"""What widgets need of napari's layers: choosing one, its pixels plane by plane, showing large results quickly."""

from beadseg.widgets.layers.choice import LayerChoice
from beadseg.widgets.layers.planes import finest, shown_plane

__all__ = ["LayerChoice", "finest", "shown_plane"]
