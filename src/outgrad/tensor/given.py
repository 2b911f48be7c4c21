"""The content of a block, from the arguments of its constructor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outgrad._foreign import is_dask_array
from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.labels.labels import Labels
from outgrad.late import late
from outgrad.tensor import check, show


def given_block(
    values: Any, samples: Labels, components: Sequence[Labels], properties: Labels
) -> tuple[Blocks, Any]:
    """Check the arguments; return the content of the block, and its values if they are a Dask array."""
    values = check.array(values)
    check.labels("samples", samples)
    check.labels("properties", properties)
    components = tuple(components)
    check.components(components)
    metadata = BlockMetadata(samples, components, properties)
    check.axes(values.shape, metadata)
    if is_dask_array(values):
        data = late("graph.dask_arrays", "from_dask")(values, show.named(metadata))
        return Lazy((metadata,), data), values
    return InMemory((metadata,), (Chunk(values),)), None
