"""Distinct entries of labels, and their one-hot encoding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from outgrad._foreign import kind_of
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows, unique_rows
from outgrad.ops.operands import T, content
from outgrad.ops.twins import block_twin


def unique_metadata(tensor: T, axis: str, names: str | Sequence[str], gradient: str | None = None) -> Labels:
    r"""Return the distinct values of some dimensions over all blocks.

    Only labels are read, for lazy data too.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    axis : {"samples", "properties"}
        The labels to look at.
    names : str, or list or tuple of str
        Dimensions of these labels.
    gradient : str, optional
        Look at the labels of this gradient instead of those of the values.

    Returns
    -------
    Labels
        Sorted labels with the dimensions ``names``, possibly without entries.

    Raises
    ------
    ValidationError
        If the axis, a dimension or the gradient does not exist.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> samples = og.Labels(["system", "atom"], [[7, 0], [7, 1], [2, 0]])
    >>> block = og.TensorBlock(np.ones((3, 1)), samples, [], og.Labels.range("n", 1))
    >>> og.unique_metadata(block, "samples", "system")["system"]
    array([2, 7], dtype=int32)
    """
    call = "unique_metadata"
    blocks = content(call, "tensor", tensor)
    wanted = [names] if isinstance(names, str) else names
    if not isinstance(axis, str):
        raise TypeError(f"{call}: axis must be a str, got {kind_of(axis)}")
    if not isinstance(wanted, (list, tuple)) or not all(isinstance(name, str) for name in wanted):
        raise TypeError(f"{call}: names must be a str, or a list of str, got {wanted!r}")
    if gradient is not None and not isinstance(gradient, str):
        raise TypeError(f"{call}: gradient must be a str, got {kind_of(gradient)}")
    if axis not in ("samples", "properties"):
        raise ValidationError(f"{call}: axis must be either 'samples' or 'properties', got {axis!r}")
    if not wanted:
        raise ValidationError(f"{call}: names is empty; give at least one dimension of the {axis}")
    found = [np.zeros((0, len(wanted)), np.int32)]
    for metadata in blocks.metadata:
        if gradient is not None and gradient not in metadata.gradients:
            raise ValidationError(
                f"{call}: gradient {gradient!r} not found; the blocks have {list(metadata.gradients)}"
            )
        labels: Labels = getattr(metadata if gradient is None else metadata.gradients[gradient], axis)
        unknown = [name for name in wanted if name not in labels.names]
        if unknown:
            raise ValidationError(
                f"{call}: {unknown[0]!r} not found in the dimensions of the {axis}, which are {labels.names}"
            )
        columns = [labels.names.index(name) for name in wanted]
        found.append(unique_rows(labels.values[:, columns])[0])
    return Labels(wanted, unique_rows(np.concatenate(found))[0], assume_unique=True)


def one_hot(labels: Labels, dimension: Labels) -> npt.NDArray[np.int32]:
    r"""Return the one-hot encoding of one dimension of labels.

    .. math:: h_{ij} = 1 \text{ if entry } i \text{ has the value } j, \text{ and } 0 \text{ otherwise}

    Parameters
    ----------
    labels : Labels
        N entries.
    dimension : Labels
        One dimension of ``labels``, with the M values to encode.

    Returns
    -------
    (N, M) array of int32
        Each row contains a single 1.

    Raises
    ------
    ValidationError
        If ``dimension`` has several dimensions, or lacks a value that occurs in ``labels``.
    ValueError
        If ``labels`` does not have this dimension.
    TypeError
        If an argument is not Labels.

    Examples
    --------
    >>> import outgrad as og
    >>> atoms = og.Labels(["atom", "type"], [[0, 6], [1, 1], [2, 1]])
    >>> og.one_hot(atoms, og.Labels("type", [[1], [6], [8]]))
    array([[0, 1, 0],
           [1, 0, 0],
           [1, 0, 0]], dtype=int32)
    """
    for argument, given in (("labels", labels), ("dimension", dimension)):
        if not isinstance(given, Labels):
            raise TypeError(f"one_hot: {argument} must be Labels, got {kind_of(given)}")
    if len(dimension.names) != 1:
        raise ValidationError(
            "one_hot: only one label dimension can be extracted as one-hot encoding, but `dimension` has the "
            f"names {dimension.names}; keep one of them"
        )
    (name,) = dimension.names
    column = labels.column(name)
    found = find_rows(dimension.values, column[:, None])
    if (found < 0).any():
        value = column[(found < 0).argmax()]
        raise ValidationError(
            f"one_hot: {name}={value} is present in the labels, but was not found in the dimension; add it"
        )
    encoded = np.zeros((len(labels), len(dimension)), np.int32)
    encoded[np.arange(len(labels)), found] = 1
    return encoded


unique_metadata_block = block_twin(unique_metadata)
