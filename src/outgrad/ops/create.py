"""Creating blocks from arrays."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from outgrad._foreign import is_dask_array
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.late import late
from outgrad.tensor import check
from outgrad.tensor.block import TensorBlock


def block_from_array(
    array: Any,
    sample_names: Sequence[str] | None = None,
    component_names: Sequence[str] | None = None,
    property_names: Sequence[str] | None = None,
) -> TensorBlock:
    """Create a block from an array, with labels that count from 0.

    Parameters
    ----------
    array : NumPy or Dask array
        At least two-dimensional. It is shared with the block unless axes are merged.
    sample_names : list of str, optional
        Names of the leading axes, which are merged into the samples. The default is one axis, ``sample``.
    component_names : list of str, optional
        Names of the middle axes. The default is ``component_1``, ``component_2``, …
    property_names : list of str, optional
        Names of the trailing axes, which are merged into the properties. The default is one axis,
        ``property``.

    Returns
    -------
    TensorBlock
        A block without gradients.

    Raises
    ------
    ValidationError
        If the number of axes and the number of names differ.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> print(og.block_from_array(np.ones((4, 3, 2))))
    TensorBlock
        samples (4): ['sample']
        components (3): ['component_1']
        properties (2): ['property']
        gradients: None
    """
    array = check.array(array)
    samples = list(sample_names or ["sample"])
    properties = list(property_names or ["property"])
    middle = array.ndim - len(samples) - len(properties)
    components = list(component_names or [f"component_{n + 1}" for n in range(max(middle, 0))])
    if array.ndim < 2 or middle != len(components):
        raise ValidationError(
            f"block_from_array: the array has {array.ndim} axes, but {samples}, {components}, {properties} "
            f"name {len(samples) + len(components) + len(properties)}; give one name per axis"
        )
    sample_shape, property_shape = array.shape[: len(samples)], array.shape[array.ndim - len(properties) :]
    component_shape = array.shape[len(samples) : len(samples) + middle]
    folded = (prod(sample_shape), *component_shape, prod(property_shape))
    if folded != array.shape:
        if is_dask_array(array):  # chunks of other shapes would be folded too
            where = f"block_from_array, of an array of shape {array.shape}"
            array = late("graph.dask_arrays", "checked")(array, where)
        array = array.reshape(folded)
    return TensorBlock(
        array,
        _indices(samples, sample_shape),
        [Labels.range(name, size) for name, size in zip(components, component_shape, strict=True)],
        _indices(properties, property_shape),
    )


def _indices(names: list[str], shape: tuple[int, ...]) -> Labels:
    """All indices of an array of this shape, the last one running fastest."""
    table = np.indices(shape, dtype=np.int32).reshape(len(shape), -1).T
    return Labels(names, table, assume_unique=True)
