"""Labels of a block and of all its gradients, apart from the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from outgrad.labels import Labels


@dataclass(frozen=True, eq=False)
class BlockMetadata:
    """Samples, components and properties of a block, and the same for each gradient.

    A gradient repeats the properties of its parent, and has its own components before the parent's.
    """

    samples: Labels
    components: tuple[Labels, ...]
    properties: Labels
    gradients: dict[str, BlockMetadata] = field(default_factory=dict)

    @property
    def trailing(self) -> tuple[int, ...]:
        """Shape without rows: lengths of the components and of the properties."""
        return (*(len(component) for component in self.components), len(self.properties))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.samples), *self.trailing)

    def walk(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], BlockMetadata]]:
        """Yield ``(path, metadata)`` for the block and every gradient below it."""
        yield path, self
        for parameter, gradient in self.gradients.items():
            yield from gradient.walk((*path, parameter))

    def at(self, path: tuple[str, ...]) -> BlockMetadata:
        metadata = self
        for parameter in path:
            metadata = metadata.gradients[parameter]
        return metadata
