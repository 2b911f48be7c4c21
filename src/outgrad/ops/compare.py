"""Comparison of maps and blocks: metadata, equality, closeness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from outgrad.data.metadata import BlockMetadata
from outgrad.engine.compare.blocks import first_difference
from outgrad.engine.compare.chunks import Tolerance
from outgrad.engine.content import Blocks, alike
from outgrad.errors import NotEqualError
from outgrad.ops.operands import T, pair
from outgrad.ops.twins import block_twin
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap

Check = str | Sequence[str]
COMPARED_AXES = ("samples", "components", "properties")


def equal_metadata(tensor_1: T, tensor_2: T, check: Check = "all", check_gradients: bool = True) -> bool:
    """Check whether two maps or blocks have the same labels, without looking at values.

    Keys may be in any order; all other labels must be in the same order. Gradients of gradients are compared
    too.

    Parameters
    ----------
    tensor_1, tensor_2 : TensorMap or TensorBlock
        The two maps or the two blocks to compare.
    check : "all" or list of {"samples", "components", "properties"}
        The axes to compare.
    check_gradients : bool
        Whether to compare gradients too.

    Returns
    -------
    bool
        True if the labels are the same.

    Raises
    ------
    ValueError
        If ``check`` contains anything else.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 2)))
    >>> og.equal_metadata(block, block * 2)
    True
    """
    return _holds(equal_metadata_raise, tensor_1, tensor_2, check, check_gradients)


def equal_metadata_raise(
    tensor_1: T, tensor_2: T, check: Check = "all", check_gradients: bool = True
) -> None:
    """Raise an error unless two maps or blocks have the same labels: see :func:`equal_metadata`.

    Parameters
    ----------
    tensor_1, tensor_2 : TensorMap or TensorBlock
        The two maps or the two blocks to compare.
    check : "all" or list of {"samples", "components", "properties"}
        The axes to compare.
    check_gradients : bool
        Whether to compare gradients too.

    Raises
    ------
    NotEqualError
        If they differ; the message says where.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 2)))
    >>> og.equal_metadata_raise(block, block)
    """
    axes = COMPARED_AXES if check == "all" else [check] if isinstance(check, str) else list(check)
    if any(name not in COMPARED_AXES for name in axes):
        known = list(COMPARED_AXES)
        raise ValueError(f"equal_metadata: check must be 'all' or some of {known}, got {check!r}")
    first, second = _pair("equal_metadata", tensor_1, tensor_2)
    _compare_metadata("equal_metadata", tensor_1, first, second, axes, check_gradients)


def equal(tensor_1: T, tensor_2: T) -> bool:
    """Check whether two maps or blocks have the same labels and exactly the same values.

    NaN is not equal to NaN. Dtypes and ``info`` are not compared. Lazy data are computed chunk by chunk.

    Parameters
    ----------
    tensor_1, tensor_2 : TensorMap or TensorBlock
        The two maps or the two blocks to compare; keys may be in any order.

    Returns
    -------
    bool
        True if they agree, including gradients and gradients of gradients.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 2)))
    >>> og.equal(block, block + 1)
    False
    """
    return _holds(equal_raise, tensor_1, tensor_2)


def equal_raise(tensor_1: T, tensor_2: T) -> None:
    """Raise an error unless two maps or blocks are equal: see :func:`equal`.

    Parameters
    ----------
    tensor_1, tensor_2 : TensorMap or TensorBlock
        The two maps or the two blocks to compare.

    Raises
    ------
    NotEqualError
        If they differ; the message says where.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 2)))
    >>> og.equal_raise(block, block)
    """
    _compare_values("equal", tensor_1, tensor_2, Tolerance(), "not equal")


def allclose(
    tensor_1: T, tensor_2: T, rtol: float = 1e-13, atol: float = 1e-12, equal_nan: bool = False
) -> bool:
    r"""Check whether two maps or blocks have the same labels and the same values within a tolerance.

    .. math:: |a - b| \le \mathrm{atol} + \mathrm{rtol}\,|b|

    Lazy data are computed chunk by chunk.

    Parameters
    ----------
    tensor_1, tensor_2 : TensorMap or TensorBlock
        The two maps or the two blocks to compare; keys may be in any order.
    rtol, atol : float
        Relative tolerance, and absolute tolerance in the units of the values.
    equal_nan : bool
        Whether NaN is close to NaN.

    Returns
    -------
    bool
        True if they agree, including gradients and gradients of gradients.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 2)))
    >>> og.allclose(block, block + 1e-14)
    True
    """
    return _holds(allclose_raise, tensor_1, tensor_2, rtol, atol, equal_nan)


def allclose_raise(
    tensor_1: T, tensor_2: T, rtol: float = 1e-13, atol: float = 1e-12, equal_nan: bool = False
) -> None:
    """Raise an error unless two maps or blocks agree within a tolerance: see :func:`allclose`.

    Parameters
    ----------
    tensor_1, tensor_2 : TensorMap or TensorBlock
        The two maps or the two blocks to compare.
    rtol, atol : float
        Relative tolerance, and absolute tolerance in the units of the values.
    equal_nan : bool
        Whether NaN is close to NaN.

    Raises
    ------
    NotEqualError
        If they differ; the message says where.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 2)))
    >>> og.allclose_raise(block, block)
    """
    _compare_values("allclose", tensor_1, tensor_2, Tolerance(rtol, atol, equal_nan), "not allclose")


def _holds(check: Callable[..., None], *arguments: Any) -> bool:
    try:
        check(*arguments)
    except NotEqualError:
        return False
    return True


def _pair(call: str, first: Any, second: Any) -> list[Blocks]:
    if {type(first), type(second)} == {TensorMap, TensorBlock}:
        raise NotEqualError(f"inputs to '{call}' should be two maps or two blocks; found a map and a block")
    try:
        return pair(call, first, second, ("tensor_1", "tensor_2"))
    except NotEqualError as error:
        raise NotEqualError(f"the tensor maps have different keys: {error}") from None


def _where(tensor: Any, number: int) -> str:
    if not isinstance(tensor, TensorMap):
        return ""
    return f"blocks for key {tensor.keys.entry(number).print()} are different: "


def _below(path: Sequence[str]) -> str:
    return " of ".join(f"gradient '{name}'" for name in reversed(path))


def _compare_metadata(
    call: str, tensor: Any, first: Blocks, second: Blocks, axes: Sequence[str], gradients: bool
) -> None:
    for number, (a, b) in enumerate(zip(first.metadata, second.metadata, strict=True)):
        difference = _metadata_difference(a, b, axes, gradients)
        if difference is not None:
            raise NotEqualError(f"{_where(tensor, number)}inputs to '{call}' {difference}")


def _metadata_difference(
    first: BlockMetadata, second: BlockMetadata, axes: Sequence[str], gradients: bool
) -> str | None:
    """What metatensor says of the first labels that differ; None if all agree."""
    for path, a in first.walk():
        b, where = second.at(path), _below(path)
        for axis in axes:
            if getattr(a, axis) == getattr(b, axis):
                continue
            counts = len(a.components), len(b.components)
            if axis == "components" and counts[0] != counts[1]:
                unlike = f"different number of components, {counts[0]} and {counts[1]}"
                return (
                    f"should have the same gradients: {where} have {unlike}" if path else f"have a {unlike}"
                )
            unlike = "are not the same or not in the same order"
            if path:
                return f"should have the same gradients: {where} {axis} {unlike}"
            return f"should have the same {axis}, but they {unlike}"
        if not gradients:
            return None
        if a.gradients.keys() != b.gradients.keys():
            return (
                f"should have the same gradient parameters; {where or 'they'} have {list(a.gradients)} and "
                f"{list(b.gradients)}"
            )
    return None


def _compare_values(call: str, tensor_1: Any, tensor_2: Any, tolerance: Tolerance, verdict: str) -> None:
    first, second = _pair(call, tensor_1, tensor_2)
    for number, (a, b) in enumerate(zip(first.metadata, second.metadata, strict=True)):
        if a.shape != b.shape:
            where = _where(tensor_1, number)
            raise NotEqualError(f"{where}values shapes are different, {a.shape} and {b.shape}")
    _compare_metadata(call, tensor_1, first, second, COMPARED_AXES, True)
    first, second = alike([first, second])
    found = first_difference(first, second, tolerance)
    if found is not None:
        number, path = found
        below = f"{_below(path)} " if path else ""
        raise NotEqualError(f"{_where(tensor_1, number)}{below}values are {verdict}")


equal_metadata_block = block_twin(equal_metadata)
equal_metadata_block_raise = block_twin(equal_metadata_raise)
equal_block = block_twin(equal)
equal_block_raise = block_twin(equal_raise)
allclose_block = block_twin(allclose)
allclose_block_raise = block_twin(allclose_raise)
