"""What the property tests draw from: label images, outlines, texts and JSON documents."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

IDS = (0, 1, 2, 3, 70_000, 2**32 - 1)
SIZES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14)

MASKS = hnp.arrays(bool, SIZES)
LABELS = hnp.arrays(np.uint32, SIZES, elements=st.sampled_from(IDS))
STACKS = hnp.arrays(
    np.uint32, hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=9), elements=st.sampled_from(IDS)
)

COORDINATES = st.floats(-20, 40, width=32)
OUTLINES = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=9)

TEXTS = st.text(max_size=12) | st.sampled_from(["=1+1", "+x", "-x", "@x", "'=x", "\\n", "a,b", 'a"b', "a\r\nb", "\x00"])
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """Return `document` with one value somewhere in it replaced, or a key of it taken away."""
    if isinstance(document, dict) and document and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(document)))
        if not draw(st.integers(0, 4)):
            return {name: value for name, value in document.items() if name != key}
        return {**document, key: draw(damaged(document[key]))}
    if isinstance(document, list) and document and draw(st.integers(0, 5)):
        at = draw(st.integers(0, len(document) - 1))
        return [*document[:at], draw(damaged(document[at])), *document[at + 1 :]]
    return draw(JSON)
