"""Selecting blocks of a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrad._foreign import kind_of
from outgrad.labels.labels import Labels
from outgrad.tensor.map import TensorMap


def filter_blocks(tensor: TensorMap, keys: Labels, copy: bool = False) -> TensorMap:
    r"""Keep the blocks whose keys match.

    Parameters
    ----------
    tensor : TensorMap
        The map to select blocks from.
    keys : Labels
        Values of some or all key dimensions; values that do not occur are ignored. Labels with all dimensions
        also set the order of the blocks, otherwise the order of the map is kept.
    copy : bool
        Copy the arrays; otherwise they are shared. Lazy data are immutable and always shared.

    Returns
    -------
    TensorMap
        The matching blocks; possibly none.

    Raises
    ------
    ValidationError
        If ``keys`` has a dimension that the keys of the map lack.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> blocks = [og.block_from_array(np.ones((count, 2))) for count in (1, 3)]
    >>> tensor = og.TensorMap(og.Labels("center_type", [[1], [6]]), blocks)
    >>> og.filter_blocks(tensor, og.Labels("center_type", [[6], [8]])).block().shape
    (3, 2)
    """
    _check_types("filter_blocks", tensor, copy, keys)
    return _chosen_blocks(tensor, tensor.keys.select(keys), copy)


def drop_blocks(tensor: TensorMap, keys: Labels, copy: bool = False) -> TensorMap:
    r"""Drop the blocks whose keys match.

    Parameters
    ----------
    tensor : TensorMap
        The map to select blocks from.
    keys : Labels
        Values of some or all key dimensions; values that do not occur are ignored.
    copy : bool
        Copy the arrays; otherwise they are shared. Lazy data are immutable and always shared.

    Returns
    -------
    TensorMap
        The remaining blocks, in the order of the map.

    Raises
    ------
    ValidationError
        If ``keys`` has a dimension that the keys of the map lack.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> blocks = [og.block_from_array(np.ones((count, 2))) for count in (1, 3)]
    >>> tensor = og.TensorMap(og.Labels("center_type", [[1], [6]]), blocks)
    >>> og.drop_blocks(tensor, og.Labels("center_type", [[6]])).block().shape
    (1, 2)
    """
    _check_types("drop_blocks", tensor, copy, keys)
    kept = np.ones(len(tensor), dtype=np.bool_)
    kept[tensor.keys.select(keys)] = False
    return _chosen_blocks(tensor, np.flatnonzero(kept), copy)


def drop_empty_blocks(tensor: TensorMap, copy: bool = False) -> TensorMap:
    r"""Drop the blocks without samples or without properties.

    Parameters
    ----------
    tensor : TensorMap
        The map to select blocks from.
    copy : bool
        Copy the arrays; otherwise they are shared. Lazy data are immutable and always shared.

    Returns
    -------
    TensorMap
        The remaining blocks, in the order of the map.

    Raises
    ------
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> blocks = [og.block_from_array(np.ones((count, 2))) for count in (0, 3)]
    >>> tensor = og.TensorMap(og.Labels("center_type", [[1], [6]]), blocks)
    >>> og.drop_empty_blocks(tensor).keys["center_type"]
    array([6], dtype=int32)
    """
    _check_types("drop_empty_blocks", tensor, copy)
    shapes = [metadata.shape for metadata in tensor._blocks().metadata]
    return _chosen_blocks(tensor, [number for number, shape in enumerate(shapes) if 0 not in shape], copy)


def _check_types(call: str, tensor: Any, copy: Any, *keys: Any) -> None:
    wanted = [
        ("tensor", tensor, TensorMap),
        *(("keys", given, Labels) for given in keys),
        ("copy", copy, bool),
    ]
    for name, given, kind in wanted:
        if not isinstance(given, kind):
            raise TypeError(f"{call}: {name} must be a {kind.__name__}, got {kind_of(given)}")


def _chosen_blocks(tensor: TensorMap, numbers: Sequence[int] | np.ndarray[Any, Any], copy: bool) -> TensorMap:
    places = np.asarray(numbers, dtype=np.int64)
    content = tensor._blocks().select(places.tolist())
    keys = tensor.keys
    if not np.array_equal(places, np.arange(len(keys))):
        keys = Labels(keys.names, keys.values[places], assume_unique=True)
    return TensorMap._of(keys, content.copied() if copy else content, tensor._info)
