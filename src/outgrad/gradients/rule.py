"""What a rule says of an operation, and the one place where gradients are carried through one.

A rule has the derivative of each argument as *columns · diag(weight)*. With x the argument, G = ∂x/∂p its
gradient and w = ∂f/∂x the weight, the gradient of f is w[row] · G, where row[r] is the values row of gradient
row r. A gradient of this gradient follows because the product is an operation like any other:

    ∂/∂q (w[row] · G) = (∂w/∂q)[row] · G + w[row] · ∂G/∂q

so the mechanism is applied to itself: :func:`gather` lifts w, with its gradients, to the rows of G, and
the rule of ``multiply`` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from outgrad._threads import one_blas_thread
from outgrad.data.chunk import Array, Chunk, ChunkList, Table
from outgrad.data.positions import Index
from outgrad.data.rows import group, lift, merge, renumber
from outgrad.errors import ValidationError
from outgrad.gradients.scatter import scatter_rows
from outgrad.gradients.weighted_sum import Weighted, align, weighted_sum
from outgrad.task import SHARE, task
from outgrad.tree import GradientPath, fold, fold_down, follow


# ---- what a rule says ----
class Term(NamedTuple):
    """Derivative of an operation with respect to one argument; what is None is the identity.

    ``weight`` multiplies the elements. One that depends on the arguments is a :class:`Chunk`, so that it can
    be differentiated again; an array or a number is a constant. ``columns`` is a linear map of the last axes,
    properties and components.
    """

    weight: Chunk | Array | complex | float | None = None
    columns: Callable[[Array], Array] | None = None


Terms = Sequence[Term]
"""One for each argument."""

_RULES: dict[tuple[str, str], Any] = {}
"""Every rule, by the module and the name that say which one it is in another process."""


@dataclass(frozen=True, eq=False)
class _Named:
    """What tasks carry of an operation: its home, not its functions."""

    name: str

    @property
    def home(self) -> str:
        """The module in which it is defined."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        _RULES[self.home, self.name] = self

    def __reduce__(self) -> tuple[Callable[[str, str], Any], tuple[str, str]]:
        return _rule_of, (self.home, self.name)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return self.home, self.name


def _rule_of(home: str, name: str) -> Any:
    import_module(home)
    return _RULES[home, name]


@dataclass(frozen=True, eq=False)
class Rule(_Named):
    """One operation: its value on plain arrays, and one :class:`Term` for each argument."""

    value: Callable[..., Array]
    terms: Callable[..., Sequence[Term]]
    linear: bool = False
    """Whether weights are constant: then a gradient of a gradient needs nothing but itself."""
    share: float = SHARE
    """What it holds on the way, as a share of what it is given and makes."""
    calls_user: bool = False
    """Whether it calls functions of the user, which may do linear algebra."""

    @property
    def home(self) -> str:
        return self.terms.__module__

    def __call__(self, chunks: Sequence[Chunk], *constants: Any) -> Chunk:
        """Compute the value, and carry all gradients of ``chunks`` through it."""
        values = self.value(*(chunk.values for chunk in chunks), *constants)
        gradients: dict[str, Chunk] = {}
        for parameter in dict.fromkeys(name for chunk in chunks for name in chunk.gradients):
            gradient = self._gradient(chunks, constants, parameter)
            if gradient.values.dtype != values.dtype:  # integers + 0.5: a constant widens the values alone
                gradient = map_arrays(gradient, lambda array: array.astype(values.dtype))
            gradients[parameter] = gradient
        return Chunk(values, gradients, chunks[0].table)

    def _gradient(self, chunks: Sequence[Chunk], constants: Sequence[Any], parameter: str) -> Chunk:
        """Push the gradient of each argument that has one through its term, and add up what comes out."""
        present = [chunk.gradients[parameter] for chunk in chunks if parameter in chunk.gradients]
        all_terms = self.terms(*(with_gradients_of(chunk, present) for chunk in chunks), *constants)
        terms = [term for chunk, term in zip(chunks, all_terms, strict=True) if parameter in chunk.gradients]
        if any(g.gradients or term.columns is not None for g, term in zip(present, terms, strict=True)):
            return add_gradients([push(g, term) for g, term in zip(present, terms, strict=True)])
        # Weights are all that there is, as mostly: one pass over pieces multiplies and adds.
        table, positions = _unite_rows([gradient.rows for gradient in present])
        weighted = [
            Weighted(
                term.weight.values if isinstance(term.weight, Chunk) else term.weight,
                gradient.rows[:, 0],
                gradient.values,
                rows_in_sum,
            )
            for gradient, term, rows_in_sum in zip(present, terms, positions, strict=True)
        ]
        return Chunk(weighted_sum(weighted, None if positions[0] is None else len(table)), {}, table)


@dataclass(frozen=True, eq=False)
class Composite(_Named):
    """An operation that is put together from rules: a function of chunks."""

    function: Callable[..., Chunk]
    linear: bool = False
    share: float = SHARE
    calls_user: bool = False

    @property
    def home(self) -> str:
        return self.function.__module__

    def __call__(self, chunks: Sequence[Chunk], *constants: Any) -> Chunk:
        """Call the function, which carries gradients itself."""
        return self.function(chunks, *constants)


@task(holds_inputs=True, share=lambda rule, *_: rule.share)
def apply_part(rule: Rule | Composite, constants: Sequence[Any], *parts: ChunkList) -> ChunkList:
    """Run a rule on each piece; ``constants`` holds a tuple for each."""
    # NumPy's loops and sums of rows use one thread anyway, and limiting BLAS takes a lock of the process.
    with one_blas_thread() if rule.calls_user else nullcontext():
        return [rule(chunks, *given) for given, *chunks in zip(constants, *parts, strict=True)]


# ---- how a gradient goes through a term ----
PRODUCT = Rule("multiply", lambda x, y: x * y, lambda x, y: [Term(y), Term(x)])


def with_gradients_of(chunk: Chunk, pattern: Sequence[Chunk]) -> Chunk:
    """Leave the gradients that ``pattern`` has, at every depth.

    A weight only needs the gradients by which the gradient that it multiplies is differentiated again:
    mostly none. More would give a product gradients of an order that the other factor does not have.
    """
    if not any(other.gradients for other in pattern):
        return Chunk(chunk.values)
    kept = {path for other in pattern for path, _ in other.walk()}
    return Chunk(chunk.values, chunk.select(kept.__contains__).gradients)


def push(gradient: Chunk, term: Term) -> Chunk:
    """Carry one gradient through one term: weigh it, then map its columns."""
    if isinstance(weight := term.weight, Chunk):
        known = {path for path, _ in weight.walk()}
        missing = dict.fromkeys(path[0] for path, _ in gradient.walk() if path not in known)
        if missing:
            raise missing_gradient(list(missing))
        # The rule of the product differentiates both again: this is where the mechanism is applied to itself.
        lifted = pad(gather(weight, gradient.rows[:, 0]), gradient.values.ndim - weight.values.ndim)
        weighed = PRODUCT([lifted, Chunk(gradient.values, gradient.gradients)])
        gradient = Chunk(weighed.values, weighed.gradients, gradient.table)
    elif isinstance(weight, np.ndarray):
        gradient = times_array(gradient, align(weight, gradient.rows[:, 0], gradient.values.ndim))
    elif weight is not None:
        factor: complex | float = weight
        gradient = map_arrays(gradient, lambda array: array * factor)
    return gradient if term.columns is None else map_arrays(gradient, term.columns)


def missing_gradient(missing: Sequence[str]) -> ValidationError:
    """Build the error for a gradient of a gradient that needs another gradient, which is missing."""
    return ValidationError(
        f"the gradient is itself differentiated with respect to {missing}, but the values have no such "
        f"gradient, and a nonlinear operation needs it; add the gradient {missing[0]!r} to the block"
    )


def times_array(chunk: Chunk, weight: Array) -> Chunk:
    """Multiply a chunk by a constant array (S, *C, P); each gradient row takes the weight of its sample."""

    def step(gradient: Chunk, above: Index | None) -> Index:
        rows: Index = gradient.rows[:, 0]
        return rows if above is None else above[rows]

    samples = follow(step, chunk, None)

    def multiply(path: GradientPath, _: Any, node: Chunk, gradients: dict[str, Chunk]) -> Chunk:
        rows = samples[path]
        factor = weight if rows is None else align(weight, rows, node.values.ndim)
        return Chunk(node.values * factor, gradients, node.table)

    return fold_down(multiply, chunk)


def add_gradients(gradients: Sequence[Chunk]) -> Chunk:
    """Add gradients whose rows may differ: rows are united, and a missing row is zero."""
    if len(gradients) == 1:
        return gradients[0]
    table, united = _unite_rows([gradient.rows for gradient in gradients])
    positions = [np.arange(len(table)) if rows_in_sum is None else rows_in_sum for rows_in_sum in united]
    terms = [
        Weighted(None, gradient.rows[:, 0], gradient.values, rows_in_sum)
        for gradient, rows_in_sum in zip(gradients, positions, strict=True)
    ]
    nested: dict[str, list[Chunk]] = {}
    for gradient, rows_in_sum in zip(gradients, positions, strict=True):
        for name, below in gradient.gradients.items():
            renumbered = Chunk(below.values, below.gradients, renumber(below.rows, rows_in_sum))
            nested.setdefault(name, []).append(renumbered)
    sums = {name: add_gradients(each) for name, each in nested.items()}
    return Chunk(weighted_sum(terms, len(table)), sums, table)


def _unite_rows(tables: Sequence[Table]) -> tuple[Table, Sequence[Index | None]]:
    """All rows of some tables, and where those of each are among them; None if all tables are the same."""
    first = tables[0]
    if all(table is first or np.array_equal(table, first) for table in tables):
        return first, [None] * len(tables)
    return merge(tables)


# ---- chunks as functions of their rows and arrays ----
def map_arrays(chunk: Chunk, function: Callable[[Array], Array]) -> Chunk:
    """Apply ``function`` to the values of a chunk and of all its gradients; rows stay."""
    return fold(lambda node, gradients: Chunk(function(node.values), gradients, node.table), chunk)


def pad(chunk: Chunk, count: int) -> Chunk:
    """Insert ``count`` axes of length one before the components of the top level, at every level."""
    base = chunk.values.ndim

    def insert(array: Array) -> Array:
        axis = array.ndim - base + 1
        return array.reshape(array.shape[:axis] + (1,) * count + array.shape[axis:])

    return map_arrays(chunk, insert)


RowsOfNode = tuple[Index, Table | None]
"""Positions of rows, and of a gradient the table of the new rows."""


def gather(chunk: Chunk, index: Index) -> Chunk:
    """Take rows ``index`` of a chunk with all their gradient rows; rows may repeat."""

    def step(gradient: Chunk, above: RowsOfNode) -> RowsOfNode:
        return lift(above[0], gradient.rows)

    start: RowsOfNode = (index, None)
    taken = follow(step, chunk, start)
    return fold_down(
        lambda path, _, node, gradients: Chunk(node.values[taken[path][0]], gradients, taken[path][1]), chunk
    )


def sum_rows(chunk: Chunk, target: Index, size: int, dtype: np.dtype[Any] | None = None) -> Chunk:
    """Add row i of a chunk to row ``target[i]`` of ``size``, gradients too; in ``dtype`` or their own."""

    def step(gradient: Chunk, above: RowsOfNode) -> RowsOfNode:
        table, targets = group(gradient.rows, above[0])
        return targets, table

    start: RowsOfNode = (target, None)
    sums = follow(step, chunk, start)

    def add(path: GradientPath, _: Any, node: Chunk, gradients: dict[str, Chunk]) -> Chunk:
        targets, table = sums[path]
        count = size if table is None else len(table)
        return Chunk(scatter_rows(node.values, targets, count, dtype), gradients, table)

    return fold_down(add, chunk)
