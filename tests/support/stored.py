"""Labels that are not in memory, and what is read of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from outgrad import Labels, TensorMap
from outgrad.data.metadata import BlockMetadata
from tests.support.lazy import like


@dataclass(frozen=True)
class Source:
    """Keeps tables outside of itself, as an archive does, and notes what is read."""

    digest: str
    tables: ClassVar[dict[str, Any]] = {}
    reads: ClassVar[list[tuple[str, int, int]]] = []

    def read(self, start: int, stop: int) -> Any:
        self.reads.append((self.digest, start, stop))
        return self.tables[self.digest][start:stop]


def stored_labels(labels: Labels) -> Labels:
    Source.tables[labels.digest] = labels.values
    return Labels.from_source(labels.names, len(labels), labels.digest, Source(labels.digest))


def stored_metadata(metadata: BlockMetadata) -> BlockMetadata:
    return BlockMetadata(
        stored_labels(metadata.samples),
        tuple(map(stored_labels, metadata.components)),
        stored_labels(metadata.properties),
        {name: stored_metadata(gradient) for name, gradient in metadata.gradients.items()},
    )


def stored(map: TensorMap) -> TensorMap:
    """The same map with labels that are not in memory."""
    blocks = map._blocks()
    made = like(map, replace(blocks, metadata=tuple(stored_metadata(m) for m in blocks.metadata)))
    Source.reads.clear()
    return made  # type: ignore[no-any-return]
