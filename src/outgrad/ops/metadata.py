"""Questions about labels: which entries occur, and their one-hot encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from outgrad._foreign import kind_of
from outgrad.data.metadata import BlockMetadata
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows, unique_rows
from outgrad.ops.operands import T, block_twin, content


def unique_metadata(tensor: T, axis: str, names: str | Sequence[str], gradient: str | None = None) -> Labels:
    r"""List the distinct values of some dimensions, over all blocks.

    Only labels are looked at, also of lazy data.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    axis : {"samples", "properties"}
        Which labels.
    names : str, or list or tuple of str
        Dimensions of these labels.
    gradient : str, optional
        Parameter of a gradient, whose labels are then taken; by default those of the values.

    Returns
    -------
    Labels
        Sorted, with the dimensions ``names``; without entries if there are none.

    Raises
    ------
    ValidationError
        If the axis, a name or the gradient does not exist.
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
    _check_arguments(axis, wanted, gradient)
    found = [np.zeros((0, len(wanted)), np.int32)]
    for metadata in blocks.metadata:
        labels: Labels = getattr(_at(metadata, gradient), axis)
        unknown = [name for name in wanted if name not in labels.names]
        if unknown:
            raise ValidationError(
                f"{call}: {unknown[0]!r} not found in the dimensions of the {axis}, which are {labels.names}"
            )
        columns = [labels.names.index(name) for name in wanted]
        found.append(unique_rows(labels.values[:, columns])[0])
    return Labels(wanted, unique_rows(np.concatenate(found))[0], assume_unique=True)


def _check_arguments(axis: Any, names: Any, gradient: Any) -> None:
    call = "unique_metadata"
    if not isinstance(axis, str):
        raise TypeError(f"{call}: axis must be a str, got {kind_of(axis)}")
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{call}: names must be a str, or a list of str, got {names!r}")
    if gradient is not None and not isinstance(gradient, str):
        raise TypeError(f"{call}: gradient must be a str, got {kind_of(gradient)}")
    if axis not in ("samples", "properties"):
        raise ValidationError(f"{call}: axis must be either 'samples' or 'properties', got {axis!r}")
    if not names:
        raise ValidationError(f"{call}: names is empty; give at least one dimension of the {axis}")


def _at(metadata: BlockMetadata, gradient: str | None) -> BlockMetadata:
    if gradient is None:
        return metadata
    if gradient not in metadata.gradients:
        raise ValidationError(
            f"unique_metadata: there is no gradient {gradient!r}; the blocks have {list(metadata.gradients)}"
        )
    return metadata.gradients[gradient]


def one_hot(labels: Labels, dimension: Labels) -> npt.NDArray[np.int32]:
    r"""Encode one dimension of labels by ones and zeros.

    .. math:: h_{ij} = 1 \text{ where entry } i \text{ has the value } j, \text{ and } 0 \text{ elsewhere}

    Parameters
    ----------
    labels : Labels
        N entries.
    dimension : Labels
        One dimension of ``labels``, with the M values that are told apart.

    Returns
    -------
    (N, M) array of int32
        One 1 in each row.

    Raises
    ------
    ValidationError
        If ``dimension`` has several dimensions, or does not contain a value that occurs.
    ValueError
        If ``labels`` has no such dimension.
    TypeError
        If an argument is no Labels.

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
