"""What a rule says of an operation, and the one place where gradients are carried through one.

A rule has the derivative of each argument as *columns · rows · diag(weight)*. With x the argument, G = ∂x/∂p
its gradient and w = ∂f/∂x the weight, the gradient of f is w[row] · G, where row[r] is the values row of
gradient row r. A gradient of this gradient follows because the product is an operation like any other:

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
from outgrad.tree import GradientPath, fold, fold_down

# ---- what a rule says ----
Columns = Callable[[Array], Array]
"""A linear map of the last axes, properties and components: it commutes with what is done to rows."""


class Rows(NamedTuple):
    """Sum rows into groups: row i of the argument is added to row ``target[i]`` of ``size``."""

    target: Index
    size: int


class Term(NamedTuple):
    """Derivative of an operation with respect to one argument; what is None is the identity.

    A ``weight`` that depends on the arguments is a :class:`Chunk`, so that it can be differentiated
    again; an array or a number is a constant.
    """

    weight: Chunk | Array | complex | float | None = None
    rows: Rows | None = None
    columns: Columns | None = None


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
        parameters = dict.fromkeys(name for chunk in chunks for name in chunk.gradients)
        gradients = {
            name: _astype(_gradient(self, chunks, constants, name), values.dtype) for name in parameters
        }
        return Chunk(values, gradients, chunks[0].table)


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
        return self.function(chunks, *constants)


# ---- how it is applied ----
Pushed = tuple[Chunk, Term]
"""A gradient of one argument, and the term of this argument."""


def _astype(gradient: Chunk, dtype: np.dtype[Any]) -> Chunk:
    """A constant may widen the values but not the gradients: ``integers + 0.5``."""
    if gradient.values.dtype == dtype:
        return gradient
    return map_arrays(gradient, lambda array: array.astype(dtype))


def _gradient(rule: Rule, chunks: Sequence[Chunk], constants: Sequence[Any], parameter: str) -> Chunk:
    found = [chunk.gradients.get(parameter) for chunk in chunks]
    present = [gradient for gradient in found if gradient is not None]
    terms = rule.terms(*(only(chunk, present) for chunk in chunks), *constants)
    pushed = [(gradient, term) for gradient, term in zip(found, terms, strict=True) if gradient is not None]
    if all(_only_weighed(gradient, term) for gradient, term in pushed):
        return _sum_in_place(pushed)
    return unite([push(gradient, term) for gradient, term in pushed])


def only(chunk: Chunk, pattern: Sequence[Chunk]) -> Chunk:
    """Leave the gradients that ``pattern`` has, at every depth.

    A weight only needs the gradients by which the gradient that it multiplies is differentiated again:
    mostly none. More would give a product gradients of an order that the other factor does not have.
    """
    if not any(other.gradients for other in pattern):
        return Chunk(chunk.values)
    kept = {path for other in pattern for path, _ in other.walk()}
    return Chunk(chunk.values, chunk.select(kept.__contains__).gradients)


def _only_weighed(gradient: Chunk, term: Term) -> bool:
    """Whether a weight is all that there is: then one pass over pieces does it."""
    return not gradient.gradients and term.rows is None and term.columns is None


def _sum_in_place(pushed: Sequence[Pushed]) -> Chunk:
    tables = [gradient.rows for gradient, _ in pushed]
    table, places = _united(tables)
    terms = [
        Weighted(w.values if isinstance(w := term.weight, Chunk) else w, own[:, 0], gradient.values, place)
        for (gradient, term), own, place in zip(pushed, tables, places, strict=True)
    ]
    return Chunk(weighted_sum(terms, None if places[0] is None else len(table)), {}, table)


def _united(tables: Sequence[Table]) -> tuple[Table, Sequence[Index | None]]:
    """All rows of some tables, and where those of each are among them; None where all are the same."""
    if all(_equal(table, tables[0]) for table in tables):
        return tables[0], [None] * len(tables)
    return merge(tables)


def _equal(a: Array, b: Array) -> bool:
    return a is b or np.array_equal(a, b)


def push(gradient: Chunk, term: Term) -> Chunk:
    """Carry one gradient through one term: weigh it, then sum its rows, then map its columns."""
    if term.weight is not None:
        gradient = _weigh(gradient, term.weight)
    if term.rows is not None:
        gradient = _grouped(gradient, term.rows.target, None)
    if term.columns is not None:
        gradient = map_arrays(gradient, term.columns)
    return gradient


def _weigh(gradient: Chunk, weight: Chunk | Array | complex | float) -> Chunk:
    if isinstance(weight, np.ndarray):
        return times_array(gradient, align(weight, gradient.rows[:, 0], gradient.values.ndim))
    if not isinstance(weight, Chunk):
        return map_arrays(gradient, lambda array: array * weight)
    missing = _missing(gradient, weight)
    if missing:
        raise missing_gradient(missing)
    return product(gather(weight, gradient.rows[:, 0]), gradient)


def times_array(chunk: Chunk, weight: Array) -> Chunk:
    """Multiply a chunk by an array (S, *C, P) without gradients: they are weighed row by row."""
    return Chunk(chunk.values * weight, _weighed(chunk, weight), chunk.table)


def _weighed(chunk: Chunk, weight: Array) -> dict[str, Chunk]:
    return {
        name: times_array(gradient, align(weight, gradient.rows[:, 0], gradient.values.ndim))
        for name, gradient in chunk.gradients.items()
    }


def missing_gradient(missing: Sequence[str]) -> ValidationError:
    """Build the error for a gradient of a gradient that needs another gradient, which is missing."""
    return ValidationError(
        f"the gradient is itself differentiated with respect to {missing}, but the values have no such "
        f"gradient, and a nonlinear operation needs it; add the gradient {missing[0]!r} to the block"
    )


def _missing(gradient: Chunk, weight: Chunk) -> list[str]:
    """Gradients of a gradient that a weight lacks, or lacks a gradient of."""
    present = {path for path, _ in weight.walk()}
    return list(dict.fromkeys(path[0] for path, _ in gradient.walk() if path not in present))


def product(weight: Chunk, gradient: Chunk) -> Chunk:
    """Multiply a gradient (R, *K, *C, P) by a weight with the same rows (R, *C, P), rule included."""
    lifted = pad(weight, gradient.values.ndim - weight.values.ndim)
    free = Chunk(gradient.values, gradient.gradients)
    out = PRODUCT([lifted, free])
    return Chunk(out.values, out.gradients, gradient.table)


PRODUCT = Rule("multiply", lambda x, y: x * y, lambda x, y: [Term(y), Term(x)])


def pad(chunk: Chunk, count: int) -> Chunk:
    """Insert ``count`` axes of length one before the components of the top level, at every level."""
    base = chunk.values.ndim

    def insert(array: Array) -> Array:
        at = array.ndim - base + 1
        return array.reshape(array.shape[:at] + (1,) * count + array.shape[at:])

    return map_arrays(chunk, insert)


def map_arrays(chunk: Chunk, function: Any) -> Chunk:
    """Apply ``function`` to the values of a chunk and of all its gradients; rows stay."""
    return fold(lambda own, gradients: Chunk(function(own.values), gradients, own.table), chunk)


def gather(chunk: Chunk, index: Index) -> Chunk:
    """Take rows ``index`` of a chunk with all their gradient rows; rows may repeat."""
    read: dict[GradientPath, Index] = {(): index}
    tables: dict[GradientPath, Table] = {}
    for path, own in chunk.walk():
        if path:
            read[path], tables[path] = lift(read[path[:-1]], own.rows)
    return fold_down(
        lambda path, _, own, gradients: Chunk(own.values[read[path]], gradients, tables.get(path)), chunk
    )


def sum_rows(chunk: Chunk, target: Index, size: int, dtype: np.dtype[Any] | None = None) -> Chunk:
    """Add row i of a chunk to row ``target[i]`` of ``size``, gradients too; in ``dtype`` or their own."""
    return Chunk(*_summed(chunk, target, size, dtype))


def _summed(
    chunk: Chunk, target: Index, size: int, dtype: np.dtype[Any] | None = None
) -> tuple[Array, dict[str, Chunk]]:
    gradients = {name: _grouped(gradient, target, dtype) for name, gradient in chunk.gradients.items()}
    return scatter_rows(chunk.values, target, size, dtype), gradients


def _grouped(gradient: Chunk, target: Index, dtype: np.dtype[Any] | None) -> Chunk:
    table, where = group(gradient.rows, target)
    return Chunk(*_summed(gradient, where, len(table), dtype), table)


def unite(pieces: Sequence[Chunk]) -> Chunk:
    """Add gradients whose rows may differ: rows are united, and a missing row is zero."""
    if len(pieces) == 1:
        return pieces[0]
    table, found = _united([piece.rows for piece in pieces])
    places = [np.arange(len(table)) if place is None else place for place in found]
    terms = [
        Weighted(None, piece.rows[:, 0], piece.values, place)
        for piece, place in zip(pieces, places, strict=True)
    ]
    values = weighted_sum(terms, len(table))
    names = dict.fromkeys(name for piece in pieces for name in piece.gradients)
    gradients = {name: unite(_renumbered(pieces, places, name)) for name in names}
    return Chunk(values, gradients, table)


def _renumbered(pieces: Sequence[Chunk], places: Sequence[Index], name: str) -> list[Chunk]:
    return [
        Chunk(g.values, g.gradients, renumber(g.rows, where))
        for piece, where in zip(pieces, places, strict=True)
        if (g := piece.gradients.get(name)) is not None
    ]


@task(holds_inputs=True, share=lambda rule, *_: rule.share)
def apply_part(rule: Rule | Composite, constants: Sequence[Any], *parts: ChunkList) -> ChunkList:
    """Run a rule on each piece; ``constants`` holds one tuple, or something to resolve, for each."""
    # NumPy's loops and sums of rows use one thread anyway, and limiting BLAS takes a lock of the process.
    with one_blas_thread() if rule.calls_user else nullcontext():
        return [
            rule(chunks, *(own if isinstance(own, tuple) else own.resolve()))
            for own, *chunks in zip(constants, *parts, strict=True)
        ]
