"""Trees: what a block has, each of its gradients has too, and their gradients again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self, TypeVar

Result = TypeVar("Result")
State = TypeVar("State")
AnyTree = TypeVar("AnyTree", bound="Tree")

GradientPath = tuple[str, ...]
"""Parameters that lead from a block to a gradient; () is the block itself."""


class Tree:
    """Something that a block has, with the same of every gradient in ``gradients``: by parameter, nested."""

    __slots__ = ()

    gradients: Any
    """A dict from parameters to more of the same class; subclasses say so."""

    def walk(self, path: GradientPath = ()) -> Iterator[tuple[GradientPath, Self]]:
        """Yield ``(path, node)`` for this and every gradient below it."""
        yield path, self
        for parameter, gradient in self.gradients.items():
            yield from gradient.walk((*path, parameter))

    def at(self, path: GradientPath) -> Self:
        """Follow ``path`` to a gradient; this itself for ``()``."""
        node = self
        for parameter in path:
            node = node.gradients[parameter]
        return node

    def map(self, change: Callable[[Self], Self]) -> Self:
        """Change every node; ``change`` need not look at its gradients, which are replaced."""
        changed: Self = zip_map(change, self)
        return changed

    def select(self, keep: Callable[[GradientPath], bool], path: GradientPath = ()) -> Self:
        """Leave the gradients for whose path ``keep`` is true, at every depth."""
        gradients = {
            name: gradient.select(keep, (*path, name))
            for name, gradient in self.gradients.items()
            if keep((*path, name))
        }
        selected: Self = _with_gradients(self, gradients)
        return selected


def fold(make: Callable[..., Result], *trees: Any) -> Result:
    """Make something of trees, from the innermost gradients up: ``make(*nodes, gradients)``.

    ``nodes`` are those at one place of all trees, and ``gradients`` is a dict of what was made of the
    gradients there, which are those of the first tree.
    """
    first = trees[0].gradients
    if len(trees) == 1:  # thousands of blocks are planned at once, and most have one tree
        return make(*trees, {name: fold(make, gradient) for name, gradient in first.items()})
    return make(*trees, {name: fold(make, *[tree.gradients[name] for tree in trees]) for name in first})


def fold_down(make: Callable[..., Result], *trees: Any, above: Any = None, path: GradientPath = ()) -> Result:
    """Like :func:`fold`, for what depends on the place: ``make(path, above, *nodes, gradients)``.

    ``above`` are the nodes of which these are gradients, as a tuple; None at the top.
    """
    gradients = {
        name: fold_down(make, *[tree.gradients[name] for tree in trees], above=trees, path=(*path, name))
        for name in trees[0].gradients
    }
    return make(path, above, *trees, gradients)


def follow(step: Callable[[Any, State], State], tree: Any, start: State) -> dict[GradientPath, State]:
    """What is known of each node, from the top down: ``step(gradient, what is known of its parent)``."""
    states: dict[GradientPath, State] = {(): start}
    for path, node in tree.walk():
        if path:
            states[path] = step(node, states[path[:-1]])
    return states


def zip_map(change: Callable[..., AnyTree], *trees: Any) -> AnyTree:
    """Make a tree of trees: each node is ``change(*nodes)``, whose gradients are replaced."""
    result: AnyTree = fold(lambda *nodes: _with_gradients(change(*nodes[:-1]), nodes[-1]), *trees)
    return result


def _with_gradients(node: AnyTree, gradients: dict[str, AnyTree]) -> AnyTree:
    return replace(node, gradients=gradients)  # type: ignore[type-var]
