"""Labels of a block and of all its gradients, apart from the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from outgrad.labels.labels import Labels
from outgrad.tree import Tree


@dataclass(frozen=True, eq=False)
class BlockMetadata(Tree):
    """Samples, components and properties of a block, and the same for each gradient.

    A gradient repeats the properties of its parent, and has its own components in front of the parent's.
    """

    samples: Labels
    components: tuple[Labels, ...]
    properties: Labels
    gradients: dict[str, BlockMetadata] = field(default_factory=dict)

    @cached_property
    def trailing(self) -> tuple[int, ...]:
        """Shape without rows: lengths of the components and of the properties."""
        return (*(len(component) for component in self.components), len(self.properties))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.samples), *self.trailing)
