"""User-defined functions of each element, and of each row of properties."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from outgrad._foreign import kind_of
from outgrad.data.chunk import Array
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.map.blocks import run_rule
from outgrad.errors import ValidationError
from outgrad.gradients.functions import APPLY, check_array
from outgrad.gradients.rowwise import APPLY_ROWS, RowFunctions
from outgrad.labels.labels import Labels
from outgrad.ops.operands import T, content, like

Function = Callable[..., Array]
Derivatives = Function | Sequence[Function] | None


def apply(tensor: T, f: Function, df: Derivatives = None) -> T:
    r"""Apply a function to each element.

    .. math:: h = f(X), \qquad \nabla h = f'(X)\,\nabla X

    Gradients of gradients need the second derivative, and so on:
    :math:`\nabla \nabla h = f''(X)\,\nabla X\,\nabla X + f'(X)\,\nabla \nabla X`.

    The functions get read-only arrays of any shape. They must accept arrays without entries, with which they
    are called while a graph is built. Complex functions must be holomorphic if there are gradients.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    f : callable
        Elementwise function that takes an array and returns an array of the same shape.
    df : callable or sequence of callable, optional
        The derivative of ``f``, or its first, second, … derivatives. Not needed without gradients.

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels and ``info`` of ``tensor``, and the dtype that ``f`` returns.

    Raises
    ------
    ValidationError
        If a derivative is missing, or a function does not return an array of the same shape.
    TypeError
        If an argument has the wrong type.

    See Also
    --------
    exp, log, sqrt, tanh, sin, cos, reciprocal, square : functions whose derivatives are built in

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[0.0, 1.0]]))
    >>> og.apply(block, np.arctan, lambda x: 1 / (1 + x**2)).values.round(3)
    array([[0.   , 0.785]])
    """
    blocks = content("apply", "tensor", tensor)
    functions = _with_derivatives("apply", f, "df", df)
    return like(tensor, run_rule(APPLY, [blocks], lambda n: (functions,)))


def apply_rows(tensor: T, f: Function, jvp: Derivatives = None, properties: Labels | None = None) -> T:
    r"""Apply a function to the properties of each row.

    .. math:: h_{sc} = f(X_{sc}), \qquad \nabla h_{rkc} = \mathrm{jvp}(X_{\sigma(r) c}, \nabla X_{rkc})

    A row is the vector of all properties for one sample s and one component c. The function gets many rows at
    once, as an array (N, P), and returns an array (N, Q). Its directional derivative
    :math:`\mathrm{jvp}(x, d) = \frac{d}{dt} f(x + t d)` at t = 0 gets two arrays (N, P).

    For gradients of gradients, pass a sequence ``(jvp, d2f, …)``, where
    :math:`\mathrm{d2f}(x, a, b) = \frac{d}{dt} \mathrm{jvp}(x + t b, a)`, and so on. The functions get
    read-only arrays. Do not rely on which rows come together in one array.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    f : callable
        Function that maps an array (N, P) to an array (N, Q), row by row.
    jvp : callable or sequence of callable, optional
        The directional derivative of ``f``, or the first, second, … ones. Not needed without gradients.
    properties : Labels, optional
        Properties of the result, with Q entries. The default is the properties of ``tensor`` if Q = P in all
        blocks, otherwise ``Labels.range("property", Q)``.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, Q). Q and the dtype are what ``f`` returns for an array without rows. If ``f`` fails
        for such an array and ``properties`` is given, the dtype is that of ``tensor``.

    Raises
    ------
    ValidationError
        If a derivative is missing, a function returns an array of the wrong shape, or ``f`` fails for an
        array without rows and ``properties`` is not given.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    Divide each row by its norm:

    >>> import numpy as np, outgrad as og
    >>> norm = lambda x: np.sqrt((x**2).sum(axis=1, keepdims=True))
    >>> def unit(x):
    ...     return x / norm(x)
    >>> def unit_jvp(x, dx):
    ...     along = (unit(x) * dx).sum(axis=1, keepdims=True)
    ...     return (dx - unit(x) * along) / norm(x)
    >>> block = og.block_from_array(np.array([[3.0, 4.0], [0.0, 2.0]]))
    >>> og.apply_rows(block, unit, unit_jvp).values
    array([[0.6, 0.8],
           [0. , 1. ]])
    """
    blocks = content("apply_rows", "tensor", tensor)
    functions = _with_derivatives("apply_rows", f, "jvp", jvp)
    if not (properties is None or isinstance(properties, Labels)):
        raise TypeError(f"apply_rows: properties must be Labels, got {kind_of(properties)}")
    by_block = [
        _row_functions(functions, metadata, blocks.dtype(n), properties)
        for n, metadata in enumerate(blocks.metadata)
    ]
    if properties is not None:
        labels = [properties] * len(by_block)
    elif all(each.size == each.width for each in by_block):
        labels = [metadata.properties for metadata in blocks.metadata]
    else:  # property names are the same in all blocks, so all keep theirs or none does
        labels = [Labels.range("property", each.size) for each in by_block]

    def top(n: int, metadata: BlockMetadata) -> BlockMetadata:
        return replace(metadata, properties=labels[n])

    return like(tensor, run_rule(APPLY_ROWS, [blocks], lambda n: (by_block[n],), top))


def _with_derivatives(call: str, f: Any, argument: str, derivatives: Any) -> tuple[Function, ...]:
    """The function and its derivatives, in order."""
    if not callable(f):
        raise TypeError(f"{call}: f must be a function, got {kind_of(f)}")
    if derivatives is None or callable(derivatives):
        return (f,) if derivatives is None else (f, derivatives)
    if not (isinstance(derivatives, (list, tuple)) and all(callable(own) for own in derivatives)):
        raise TypeError(f"{call}: {argument} must be a function or a list of functions, got {derivatives!r}")
    return (f, *derivatives)


def _row_functions(
    functions: tuple[Function, ...], metadata: BlockMetadata, dtype: np.dtype[Any], properties: Labels | None
) -> RowFunctions:
    """Find Q and the dtype of the result with an array without rows, and check the derivatives with it."""
    width = len(metadata.properties)
    empty = np.empty((0, width), dtype)
    found = _without_rows("f", functions[0], [empty], properties)
    if found is None and properties is not None:
        return RowFunctions(functions, width, len(properties), dtype)
    size = found.shape[-1] if isinstance(found, np.ndarray) and found.ndim else 0
    found = check_array("apply_rows: f", found, (0, size), f"an array (N, Q) for an array (N, {width})")
    if properties is not None and len(properties) != size:
        raise ValidationError(
            f"apply_rows: f returns {size} columns, but properties has {len(properties)} entries; "
            "give one entry for each column"
        )
    made = RowFunctions(functions, width, size, found.dtype)
    for order, function in enumerate(functions[1:] if metadata.gradients else (), start=1):
        found = _without_rows(made.name(order), function, [empty] * (order + 1), properties)
        if found is not None or properties is None:
            wanted = f"an array (N, {size}) for {order + 1} arrays (N, {width})"
            check_array(f"apply_rows: {made.name(order)}", found, (0, size), wanted)
    return made


def _without_rows(name: str, function: Function, arrays: Sequence[Array], properties: Labels | None) -> Any:
    """Call a function of rows with none; one that cannot do it returns None if ``properties`` are given."""
    try:
        return function(*arrays)
    except Exception as error:
        if properties is not None:
            return None
        raise ValidationError(
            f"apply_rows: {name} failed for arrays without rows, of shape {arrays[0].shape}: {error!r}; pass "
            "properties=Labels(…) to set the number of columns without this call"
        ) from error
