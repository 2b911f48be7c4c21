"""Linear least squares and linear equations: lstsq, solve."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from outgrad.engine.content import Blocks, alike
from outgrad.engine.solve.blocks import solve_systems
from outgrad.engine.solve.chunks import System
from outgrad.errors import ValidationError
from outgrad.ops.operands import T, check_labels, is_number, like, pair
from outgrad.tensor.map import TensorMap

DRIVERS = ("gels", "gelsd", "gelss", "gelsy")


def lstsq(X: T, Y: T, rcond: float | None, driver: str | None = None) -> T:
    r"""Solve linear least squares; of several solutions, return the one of minimum norm.

    .. math::
        w = \underset{w}{\operatorname{argmin}} \left( \sum_{sc} \lVert X_{sc} w - Y_{sc} \rVert^2
        + \sum_{r} \lVert \nabla X_r\, w - \nabla Y_r \rVert^2 \right)

    Each sample and component is one equation, and so is each gradient row and component, including gradients
    of gradients. Rows that only one of the maps has are zero in the other.

    Each chunk is reduced to a triangle by Householder reflections in double precision, and the triangles, of
    at most (P + Q)² numbers, are merged. This takes one pass over the data and avoids the loss of accuracy of
    the normal equations, :math:`X^T X`. Solutions agree with :func:`numpy.linalg.lstsq` up to rounding; the
    last digits depend on the chunks.

    Parameters
    ----------
    X : TensorMap or TensorBlock
        Values (S, \*C, P), with or without gradients.
    Y : TensorMap or TensorBlock
        Values (S, \*C, Q), with the same samples, components and gradient parameters.
    rcond : float or None
        Singular values up to ``rcond`` times the largest one are treated as zero. As in NumPy, 0 and negative
        numbers mean double precision, and None means double precision times the number of equations or
        unknowns, whichever is larger.
    driver : {"gels", "gelsd", "gelss", "gelsy"}, optional
        Has no effect; for compatibility with metatensor, which passes it to PyTorch.

    Returns
    -------
    TensorMap or TensorBlock
        The transpose of w, values (Q, P), without gradients; its samples are the properties of ``Y``.

        The entry ``"lstsq"`` of the ``info`` of a map is a JSON list with one item per block: the number of
        ``"equations"``, their ``"rank"``, the ``"condition"`` (the ratio of the largest to the smallest
        singular value used) and the ``"residual"`` (a norm). For lazy maps it is there once the result,
        or what is made of it, is computed or saved.

    Raises
    ------
    NotEqualError
        If keys, samples, components or gradient parameters differ.
    TypeError
        If ``rcond`` is not a number.
    ValidationError
        If ``rcond`` is 1 or more, or ``driver`` is unknown.
    LinearSystemError
        If there are NaN or infinite values; for lazy maps, when the result is computed.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> X = og.block_from_array(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]))
    >>> Y = og.block_from_array(np.array([[1.0], [3.0], [5.0]]))
    >>> og.lstsq(X, Y, rcond=None).values.round(12)
    array([[1., 2.]])
    """
    if rcond is not None and (not is_number(rcond) or isinstance(rcond, (bool, complex))):
        raise TypeError(f"lstsq: rcond must be a number or None, got {rcond!r}")
    if driver not in (None, *DRIVERS):
        raise ValidationError(f"lstsq: driver {driver!r} is unknown; give one of {list(DRIVERS)} or None")
    operands = _operands("lstsq", X, Y)
    if rcond is not None and not rcond < 1:
        # LAPACK takes 1 and more, too, and then cuts at its own precision: that is not what was asked for
        raise ValidationError(
            f"lstsq: rcond = {rcond!r} would treat every singular value as zero; give a number below 1"
        )
    return _solved("lstsq", X, operands, None if rcond is None else float(rcond))


def solve(X: T, Y: T) -> T:
    r"""Solve linear equations that have a unique solution.

    .. math:: X w = Y, \qquad \nabla X\, w = \nabla Y

    Each sample and component is one equation, and so is each gradient row and component, including gradients
    of gradients. Without gradients, there must be as many equations as unknowns. With gradients there may be
    more; if they are inconsistent, the result is the least-squares solution, as in :func:`lstsq`, and the
    residual in ``info`` shows it.

    Parameters
    ----------
    X : TensorMap or TensorBlock
        Values (S, \*C, P), with or without gradients.
    Y : TensorMap or TensorBlock
        Values (S, \*C, Q), with the same samples, components and gradient parameters.

    Returns
    -------
    TensorMap or TensorBlock
        The transpose of w, values (Q, P), without gradients; its samples are the properties of ``Y``. The
        entry ``"solve"`` of ``info`` is as described in :func:`lstsq`.

    Raises
    ------
    NotEqualError
        If keys, samples, components or gradient parameters differ.
    ValidationError
        If the numbers of equations and unknowns differ or, with gradients, there are too few equations.
    LinearSystemError
        If the equations are singular, or there are NaN or infinite values; for lazy maps, when the result is
        computed. It is a ``numpy.linalg.LinAlgError``.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> X = og.block_from_array(np.array([[2.0, 0.0], [1.0, 1.0]]))
    >>> Y = og.block_from_array(np.array([[4.0], [5.0]]))
    >>> og.solve(X, Y).values.round(12)
    array([[2., 3.]])
    """
    operands = _operands("solve", X, Y)
    for number, metadata in enumerate(operands[0].metadata):
        # Equations of gradients are counted by the rows of X: where only Y has a row, it says nothing of w.
        unknowns = len(metadata.properties)
        equations = sum(prod(node.shape[:-1]) for _, node in metadata.walk())
        if equations == unknowns or (metadata.gradients and equations > unknowns):
            continue
        needed = "the values in each block of X should be square: as many equations (samples and components)"
        if metadata.gradients:
            needed = "X should have, with gradients, at least as many equations"
        raise ValidationError(
            f"solve: {needed} as properties; {_name(operands[0], number)} has {equations} equations and "
            f"{unknowns} properties; use lstsq for any number of equations"
        )
    return _solved("solve", X, operands, None)


def _operands(call: str, X: T, Y: T) -> list[Blocks]:
    operands = pair(call, X, Y, ("X", "Y"))
    for number, (x, y) in enumerate(zip(operands[0].metadata, operands[1].metadata, strict=True)):
        check_labels(call, x, y, _name(operands[0], number), ("samples", "components"))
    return operands


def _name(blocks: Blocks, number: int) -> str:
    return f"block {number}" if len(blocks) > 1 else "the block"


def _solved(call: str, X: T, operands: Sequence[Blocks], rcond: float | None) -> T:
    x, y = alike(operands)
    systems = []
    for number, metadata in enumerate(x.metadata):
        dtype = np.result_type(x.dtype(number), y.dtype(number))
        if dtype.kind not in "fc":
            dtype = np.dtype(np.float64)
        unknowns = len(metadata.properties)
        systems.append(System(call, _name(x, number), unknowns, dtype, rcond, call == "solve"))
    blocks, report = solve_systems(x, y, systems)
    result = like(X, blocks)
    return result._with_info(call, report) if isinstance(result, TensorMap) and systems else result
