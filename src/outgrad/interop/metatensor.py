"""To and from metatensor's own objects (``pip install outgrad[metatensor]``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrad._foreign import kind_of
from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.labels.labels import Labels
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap
from outgrad.tree import fold

INSTALL = "metatensor is not installed; install it with: pip install 'outgrad[metatensor]'"


def from_metatensor(data: Any) -> Any:
    """Convert a map, a block or labels of metatensor; arrays are shared, labels copied.

    Parameters
    ----------
    data : metatensor.TensorMap, metatensor.TensorBlock or metatensor.Labels
        With NumPy arrays as values.

    Returns
    -------
    TensorMap, TensorBlock or Labels
        The same labels, values, gradients and info.

    Raises
    ------
    TypeError
        If ``data`` is none of these, or its values are not NumPy arrays.

    Examples
    --------
    >>> import metatensor, outgrad as og
    >>> og.from_metatensor(metatensor.Labels.range("n", 2))["n"]
    array([0, 1], dtype=int32)
    """
    kind = type(data).__name__
    if kind == "Labels":
        return _labels_in(data)
    if kind == "TensorBlock":
        return _block_in(data)
    if kind == "TensorMap":
        converted = TensorMap(_labels_in(data.keys), [_block_in(block) for block in data.blocks()])
        for key, value in data.info().items():
            converted.set_info(key, value or "")  # metatensor says None of an empty text
        return converted
    got = kind_of(data) if kind == "ScriptObject" else kind
    raise TypeError(f"from_metatensor: a map, a block or labels of metatensor is needed, got {got}")


def _labels_in(labels: Any) -> Labels:
    # Checked by metatensor already; the copy frees the labels from its memory, which it never frees.
    return Labels(list(labels.names), np.array(labels.values), assume_unique=True)


def _block_in(block: Any) -> TensorBlock:
    if not isinstance(block.values, np.ndarray):
        raise TypeError(
            f"from_metatensor: values must be NumPy arrays, got {type(block.values).__name__}; "
            "convert with .to(arrays='numpy')"
        )
    converted = TensorBlock(
        _plain(block.values),
        _labels_in(block.samples),
        [_labels_in(component) for component in block.components],
        _labels_in(block.properties),
    )
    for parameter, gradient in block.gradients():
        converted.add_gradient(parameter, _block_in(gradient))
    return converted


def _plain(values: Any) -> Any:
    """A plain array of the same memory.

    Calculators written in Rust give arrays of a class that keeps alive what owns their memory. NumPy would
    take the array below as the base of a view, and forget the owner; a memoryview keeps the array itself.
    """
    return values if type(values) is np.ndarray else np.asarray(memoryview(values))


def to_metatensor(data: Any) -> Any:
    """Convert a map, a block or labels to metatensor's; lazy data are computed, arrays are shared.

    Parameters
    ----------
    data : TensorMap, TensorBlock or Labels
        What to convert.

    Returns
    -------
    metatensor.TensorMap, metatensor.TensorBlock or metatensor.Labels
        The same labels, values, gradients and info.

    Raises
    ------
    ImportError
        If metatensor is not installed.
    TypeError
        If ``data`` is none of these.

    Examples
    --------
    >>> import outgrad as og
    >>> og.to_metatensor(og.Labels.range("n", 2)).names
    ['n']
    """
    try:
        import metatensor
    except ImportError:
        raise ImportError(f"to_metatensor: {INSTALL}") from None
    if isinstance(data, Labels):
        return _labels_out(metatensor, data)
    if isinstance(data, TensorBlock):
        return _blocks_out(metatensor, data)[0]
    if isinstance(data, TensorMap):
        blocks = _blocks_out(metatensor, data)
        converted = metatensor.TensorMap(_labels_out(metatensor, data.keys), blocks)
        for key, value in data.info().items():
            converted.set_info(key, value)
        return converted
    raise TypeError(f"to_metatensor: a TensorMap, a TensorBlock or Labels is needed, got {kind_of(data)}")


def _labels_out(metatensor: Any, labels: Labels) -> Any:
    # metatensor keeps the array and makes it read-only; ours is read-only already, and a copy is its own.
    return metatensor.Labels(labels.names, labels.values.copy(), assume_unique=True)


def _blocks_out(metatensor: Any, tensor: TensorMap | TensorBlock) -> list[Any]:
    def converted(metadata: BlockMetadata, chunk: Chunk, gradients: dict[str, Any]) -> Any:
        block = metatensor.TensorBlock(
            values=chunk.values,
            samples=_labels_out(metatensor, metadata.samples),
            components=[_labels_out(metatensor, component) for component in metadata.components],
            properties=_labels_out(metatensor, metadata.properties),
        )
        for parameter, gradient in gradients.items():
            block.add_gradient(parameter, gradient)
        return block

    blocks = tensor.compute()._blocks().in_memory("to_metatensor")
    return [fold(converted, *each) for each in zip(blocks.metadata, blocks.chunks, strict=True)]
