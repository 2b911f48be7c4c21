"""Systems of linear equations: lstsq, solve."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks, alike
from outgrad.engine.solve.blocks import solve_systems
from outgrad.engine.solve.chunks import System
from outgrad.errors import ValidationError
from outgrad.ops.operands import T, check_labels, is_number, like, pair
from outgrad.tensor.map import TensorMap

DRIVERS = ("gels", "gelsd", "gelss", "gelsy")


def lstsq(X: T, Y: T, rcond: float | None, driver: str | None = None) -> T:
    r"""Find the weights that solve linear equations best, and of these the smallest.

    .. math::
        w = \underset{w}{\operatorname{argmin}} \left( \sum_{sc} \lVert X_{sc} w - Y_{sc} \rVert^2
        + \sum_{r} \lVert \nabla X_r\, w - \nabla Y_r \rVert^2 \right)

    Each sample and component is an equation, and so is each gradient row and component, of gradients of
    gradients too. Rows that only one of the maps has are zero in the other.

    Equations are brought into triangular form chunk by chunk, by Householder reflections in double
    precision, and these triangles of at most (P + Q)² numbers are united: that needs one pass over the data,
    and loses no accuracy as products :math:`X^T X` would. Solutions agree with those of
    :func:`numpy.linalg.lstsq` up to rounding; other chunks give other last digits.

    Parameters
    ----------
    X : TensorMap or TensorBlock
        Values (S, \*C, P), with any gradients.
    Y : TensorMap or TensorBlock
        Values (S, \*C, Q) with the same samples, components and gradient parameters.
    rcond : float or None
        Singular values up to ``rcond`` times the largest count as zero. As in NumPy 0 and negative numbers
        stand for double precision, and None for this precision times the number of equations or of
        unknowns, whichever is larger.
    driver : {"gels", "gelsd", "gelss", "gelsy"}, optional
        Has no effect; metatensor passes it to PyTorch.

    Returns
    -------
    TensorMap or TensorBlock
        Values (Q, P), which is w transposed, without gradients; the samples are the properties of ``Y``.
        The ``info`` of a map has under ``"lstsq"`` a JSON list with, for each block, the number of
        ``"equations"``, their ``"rank"``, the ``"condition"``, which is the ratio of the largest to the
        smallest singular value that is used, and the ``"residual"``, the norm of what is left. If the maps
        are lazy, it is there once the result, or what is made of it, is computed or saved.

    Raises
    ------
    NotEqualError
        If keys, samples, components or gradient parameters differ.
    TypeError
        If ``rcond`` is no number.
    ValidationError
        If ``rcond`` is 1 or more, or there is no such driver.
    LinearSystemError
        If there are NaN or infinite values; of lazy maps when the result is computed.

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
        raise ValidationError(f"lstsq: there is no driver {driver!r}; give one of {list(DRIVERS)} or None")
    operands = _operands("lstsq", X, Y)
    if rcond is not None and not rcond < 1:
        # LAPACK takes 1 and more, too, and then cuts at its own precision: that is not what was asked for
        raise ValidationError(
            f"lstsq: rcond = {rcond!r} would count every singular value as zero; give a number below 1"
        )
    return _solved("lstsq", X, operands, None if rcond is None else float(rcond))


def solve(X: T, Y: T) -> T:
    r"""Solve linear equations that have one solution.

    .. math:: X w = Y, \qquad \nabla X\, w = \nabla Y

    Each sample and component is an equation, and so is each gradient row and component, of gradients of
    gradients too. Without gradients there are as many equations as unknowns. With gradients there may be
    more: if they contradict each other the solution is the best one, as in :func:`lstsq`, and the residual
    in ``info`` tells.

    Parameters
    ----------
    X : TensorMap or TensorBlock
        Values (S, \*C, P), with any gradients.
    Y : TensorMap or TensorBlock
        Values (S, \*C, Q) with the same samples, components and gradient parameters.

    Returns
    -------
    TensorMap or TensorBlock
        Values (Q, P), which is w transposed, without gradients; the samples are the properties of ``Y``.
        ``info`` has under ``"solve"`` what :func:`lstsq` writes.

    Raises
    ------
    NotEqualError
        If keys, samples, components or gradient parameters differ.
    ValidationError
        If there are not as many equations as unknowns, or with gradients fewer.
    LinearSystemError
        If the equations are singular, or there are NaN or infinite values; of lazy maps when the result is
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
        _check_square(metadata, _name(operands[0], number))
    return _solved("solve", X, operands, None)


def _operands(call: str, X: T, Y: T) -> list[Blocks]:
    operands = pair(call, X, Y, ("X", "Y"))
    for number, (x, y) in enumerate(zip(operands[0].metadata, operands[1].metadata, strict=True)):
        check_labels(call, x, y, _name(operands[0], number), ("samples", "components"))
    return operands


def _name(blocks: Blocks, number: int) -> str:
    return f"block {number}" if len(blocks) > 1 else "the block"


def _check_square(metadata: BlockMetadata, where: str) -> None:
    """Equations of gradients are counted by the rows of X: where only Y has a row, it says nothing of w."""
    unknowns = len(metadata.properties)
    equations = sum(prod(below.shape[:-1]) for _, below in metadata.walk())
    if equations < unknowns or (not metadata.gradients and equations != unknowns):
        needed = (
            "the values in each block of X should be square: as many equations (samples and components) as"
        )
        if metadata.gradients:
            needed = "X should have, with gradients, at least as many equations as"
        raise ValidationError(
            f"solve: {needed} properties; {where} has {equations} equations and {unknowns} properties. "
            "lstsq solves equations of any number"
        )


def _solved(call: str, X: T, operands: Sequence[Blocks], rcond: float | None) -> T:
    x, y = alike(operands)
    systems = [_system(call, x, y, number, rcond) for number in range(len(x))]
    blocks, report = solve_systems(x, y, systems)
    result = like(X, blocks)
    return result._with_info(call, report) if isinstance(result, TensorMap) and systems else result


def _system(call: str, x: Blocks, y: Blocks, number: int, rcond: float | None) -> System:
    dtype = np.result_type(x.dtype(number), y.dtype(number))
    if dtype.kind not in "fc":
        dtype = np.dtype(np.float64)
    unknowns = len(x.metadata[number].properties)
    return System(call, _name(x, number), unknowns, dtype, rcond, call == "solve")
