"""Shapes of data that several rooms share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

Path = tuple[str, ...]
"""Parameters that lead from a block to a gradient; () is the block itself."""


class Nested:
    """Something of a block, with the same for every gradient in ``gradients``: by parameter, nested."""

    __slots__ = ()

    gradients: Any
    """A dict from parameters to more of the same class; subclasses say so."""

    def walk(self, path: Path = ()) -> Iterator[tuple[Path, Self]]:
        """Yield ``(path, part)`` for this and every gradient below it."""
        yield path, self
        for parameter, gradient in self.gradients.items():
            yield from gradient.walk((*path, parameter))

    def at(self, path: Path) -> Self:
        """What is found by following ``path``; this itself for ``()``."""
        found = self
        for parameter in path:
            found = found.gradients[parameter]
        return found
