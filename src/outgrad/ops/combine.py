"""Joining maps: samples, properties or blocks of several maps behind each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from outgrad._foreign import kind_of
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks
from outgrad.engine.convert import converted
from outgrad.engine.joining import behind
from outgrad.engine.shuffle.blocks import Order, Origin, Target, moved
from outgrad.errors import NotEqualError, ValidationError
from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows
from outgrad.labels.sets import check_unique, unite
from outgrad.ops.operands import check_labels, check_same_names, key_order
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap

Group = Sequence[tuple[int, int]]
"""The blocks that become one: number of the map, and number of the block in it."""


def join(
    tensors: Sequence[TensorMap],
    axis: str,
    different_keys: str = "error",
    add_dimension: str | None = None,
) -> TensorMap:
    r"""Put the samples, the properties or the blocks of several maps behind each other.

    .. math:: h = (X^{(1)}, X^{(2)}, \dots), \qquad \nabla h = (\nabla X^{(1)}, \nabla X^{(2)}, \dots)

    Along samples, gradient rows stand behind each other like the samples. Along properties they are united:
    a row that a map does not have is zero there. Rows of a sample on which all maps agree keep their order,
    others are sorted.

    Parameters
    ----------
    tensors : list or tuple of TensorMap
        At least one map, values (S\ :sub:`m`, \*C, P) or (S, \*C, P\ :sub:`m`).
    axis : {"samples", "properties", "keys"}
        What is put behind each other. Along samples, components and properties must be the same; dimensions
        of the samples may come in another order, that of the first map is taken. Along properties, samples
        and components must be the same; where names of the properties differ, the new properties are called
        ``joined_index`` (number of the map) and ``property``. Along keys, keys must be distinct.
    different_keys : {"error", "intersection", "union"}
        What to do with keys that not all maps have, along samples and properties: refuse them, leave them
        out, or keep them with what there is. The order is that of :meth:`Labels.intersection`, and of first
        appearance.
    add_dimension : str, optional
        Name of a new last dimension of the joined labels, which holds the number of the map.

    Returns
    -------
    TensorMap
        Values (Σ S\ :sub:`m`, \*C, P) or (S, \*C, Σ P\ :sub:`m`), in the dtype that NumPy gives for all
        maps. Of ``info`` those entries are kept on which all maps that have them agree. One map without a new
        dimension, and blocks joined along keys, share their arrays with the result.

    Raises
    ------
    TypeError
        If ``tensors`` is no list or tuple of maps.
    NotEqualError
        If keys, or labels that must be the same, differ.
    ValidationError
        If there are no maps, joined labels are not unique, names of samples differ, or an argument is another
        word.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.array([[1.0, 2.0]]))])
    >>> og.join([map, 3 * map], "samples", add_dimension="part").block().values
    array([[1., 2.],
           [3., 6.]])
    >>> og.join([map, 3 * map], "properties", add_dimension="part").block().properties.values.tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    inputs = _Inputs("join", "tensors", _listed("join", "tensors", tensors, TensorMap))
    _check_word("join", "axis", axis, ("samples", "properties", "keys"))
    _check_word("join", "different_keys", different_keys, ("error", "intersection", "union"))
    if axis == "keys" and different_keys != "error":
        raise ValidationError(
            f"join: different_keys={different_keys!r} is for samples and properties; along keys, all are kept"
        )
    info = _common_info(tensors)
    if len(tensors) == 1 and add_dimension is None:
        return TensorMap._of(tensors[0].keys, inputs.contents[0], info)
    if axis == "keys":
        keys, result = _join_keys(inputs, [tensor.keys for tensor in tensors], add_dimension)
    else:
        keys, groups = _groups([tensor.keys for tensor in tensors], different_keys)
        result = _join(inputs, groups, axis, add_dimension)
    return TensorMap._of(keys, result, info)


def join_blocks(blocks: Sequence[TensorBlock], axis: str, add_dimension: str | None = None) -> TensorBlock:
    r"""Put the samples or the properties of several blocks behind each other; formulas as in :func:`join`.

    Parameters
    ----------
    blocks : list or tuple of TensorBlock
        At least one block.
    axis : {"samples", "properties"}
        What is put behind each other.
    add_dimension : str, optional
        Name of a new last dimension of the joined labels, which holds the number of the block.

    Returns
    -------
    TensorBlock
        Values (Σ S\ :sub:`m`, \*C, P) or (S, \*C, Σ P\ :sub:`m`).

    Raises
    ------
    TypeError, NotEqualError, ValidationError
        As :func:`join`.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.join_blocks([block, block], "properties", add_dimension="part").values
    array([[1., 2., 1., 2.]])
    """
    inputs = _Inputs("join_blocks", "blocks", _listed("join_blocks", "blocks", blocks, TensorBlock))
    _check_word("join_blocks", "axis", axis, ("samples", "properties"))
    if len(blocks) == 1 and add_dimension is None:
        return TensorBlock._of(inputs.contents[0])
    groups = [[(number, 0) for number in range(len(blocks))]]
    return TensorBlock._of(_join(inputs, groups, axis, add_dimension))


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What is joined, and how messages call it."""

    call: str
    argument: str
    contents: Sequence[Blocks]

    def where(self, number: int, block: int) -> str:
        own = f"{self.argument}[{number}]"
        return own if self.argument == "blocks" else f"block {block} of {own}"

    @cached_property
    def heads(self) -> list[BlockMetadata]:
        """The first block of each map that has any: all blocks of a map have the same names."""
        return [content.metadata[0] for content in self.contents if len(content)]

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(*(content.dtype(0) for content in self.contents if len(content)))


# ---- arguments ----
def _listed(call: str, argument: str, given: Any, kind: type) -> list[Blocks]:
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"{call}: {argument} must be a list or a tuple, got {kind_of(given)}")
    for number, own in enumerate(given):
        if not isinstance(own, kind):
            raise TypeError(f"{call}: {argument}[{number}] must be a {kind.__name__}, got {kind_of(own)}")
    if not given:
        raise ValidationError(
            f"{call}: {argument} is empty; provide at least one `{kind.__name__}` for joining"
        )
    return [own._blocks() for own in given]


def _check_word(call: str, argument: str, given: Any, words: Sequence[str]) -> None:
    if given not in words:
        raise ValidationError(f"{call}: {argument} must be one of {list(words)}, got {given!r}")


def _common_info(tensors: Sequence[TensorMap]) -> dict[str, str]:
    infos = [tensor.info() for tensor in tensors]
    found = {key: value for info in reversed(infos) for key, value in info.items()}
    return {
        key: value for key, value in found.items() if all(info.get(key, value) == value for info in infos)
    }


# ---- keys ----
def _groups(keys: Sequence[Labels], different_keys: str) -> tuple[Labels, list[Group]]:
    """Keys of the result, and the blocks that belong to each."""
    if different_keys == "error":
        orders = [key_order("join", keys[0], own) for own in keys]
        return keys[0], list(zip(*(_members(m, order) for m, order in enumerate(orders)), strict=True))
    _check_key_names(keys)
    if different_keys == "intersection":
        common = keys[0]
        for own in keys[1:]:
            common = common.intersection(own)
        orders = [find_rows(own.values, common.values).tolist() for own in keys]
        return common, list(zip(*(_members(m, order) for m, order in enumerate(orders)), strict=True))
    table, places = unite([own.values for own in keys], sort=False)
    groups: list[list[tuple[int, int]]] = [[] for _ in table]
    for m, own_places in enumerate(places):
        for number, place in enumerate(own_places.tolist()):
            groups[place].append((m, number))
    return Labels(keys[0].names, table, assume_unique=True), list(groups)


def _members(number: int, order: Sequence[int]) -> list[tuple[int, int]]:
    return [(number, block) for block in order]


def _check_key_names(keys: Sequence[Labels]) -> None:
    for own in keys[1:]:
        if own.names != keys[0].names:
            raise NotEqualError(
                f"inputs to 'join' should have the same key names; found {keys[0].names} and {own.names}"
            )


def _join_keys(inputs: _Inputs, keys: Sequence[Labels], add_dimension: str | None) -> tuple[Labels, Blocks]:
    _check_key_names(keys)
    labels = _behind(inputs, "keys", keys, range(len(keys)), add_dimension)
    for head in inputs.heads[1:]:
        check_same_names("join", inputs.heads[0], head)
    if not inputs.heads:
        return labels, inputs.contents[0]
    return labels, behind([converted(content, inputs.dtype, None, None) for content in inputs.contents])


# ---- samples and properties ----
def _join(inputs: _Inputs, groups: Sequence[Group], axis: str, add_dimension: str | None) -> Blocks:
    same = ("components", "properties") if axis == "samples" else ("samples", "components")
    _check_groups(inputs, groups, axis, same)
    if not groups:
        return next((c for c in inputs.contents if c.lazy is not None), inputs.contents[0]).select([])
    renumbered = axis == "properties" and _property_names_differ(inputs, add_dimension)
    sources: list[tuple[Blocks, int]] = []
    targets = []
    for group in groups:
        own = [inputs.contents[m].metadata[n] for m, n in group]
        maps = [m for m, _ in group]
        if axis == "samples":
            head = replace(own[0], samples=_samples(inputs, own, maps, add_dimension))
        elif renumbered:
            head = replace(own[0], properties=_renumbered([len(m.properties) for m in own], maps))
        else:
            properties = [metadata.properties for metadata in own]
            head = replace(own[0], properties=_behind(inputs, "properties", properties, maps, add_dimension))
        origins = _origins(len(sources), [len(getattr(metadata, axis)) for metadata in own], axis)
        targets.append(Target(head, origins, None if axis == "samples" else Order.MERGED, inputs.dtype))
        sources += [(inputs.contents[m], n) for m, n in group]
    return moved(inputs.call, sources, targets)


def _origins(first: int, counts: Sequence[int], axis: str) -> tuple[Origin, ...]:
    """Rows or columns of one block behind those of the block before."""
    if len(counts) == 1:
        return (Origin(first),)
    at = np.cumsum([0, *counts]).tolist()
    spans = [np.arange(at[n], at[n + 1], dtype=np.int32) for n in range(len(counts))]
    if axis == "samples":
        return tuple(Origin(first + n, span) for n, span in enumerate(spans))
    return tuple(Origin(first + n, None, span) for n, span in enumerate(spans))


def _check_groups(inputs: _Inputs, groups: Sequence[Group], axis: str, same: Sequence[str]) -> None:
    if axis == "samples":
        _check_sample_names(inputs)
    for group in groups:
        first, *others = [(inputs.contents[m].metadata[n], inputs.where(m, n)) for m, n in group]
        for metadata, where in others:
            check_labels(inputs.call, first[0], metadata, where, same)
    for head in inputs.heads[1:]:
        check_same_names(inputs.call, inputs.heads[0], head, same)


def _check_sample_names(inputs: _Inputs) -> None:
    first = inputs.heads[0].samples.names if inputs.heads else []
    for head in inputs.heads[1:]:
        if set(head.samples.names) != set(first):
            raise ValidationError(
                f"{inputs.call}: the {inputs.argument} have different sample names, {first} and "
                f"{head.samples.names}; joining them along samples would lose information, rename or remove "
                "dimensions first"
            )


def _property_names_differ(inputs: _Inputs, add_dimension: str | None) -> bool:
    names = [head.properties.names for head in inputs.heads]
    other = next((own for own in names if own != names[0]), None)
    if other is not None and add_dimension is not None:
        raise ValidationError(
            f"{inputs.call}: add_dimension={add_dimension!r} is not possible when the {inputs.argument} have "
            f"different property names, {names[0]} and {other}: the result has 'joined_index' and 'property'"
        )
    return other is not None


# ---- labels of the result ----
def _samples(
    inputs: _Inputs, own: Sequence[BlockMetadata], maps: Sequence[int], add_dimension: str | None
) -> Labels:
    names = own[0].samples.names
    permuted = [
        labels if labels.names == names else labels.permute([labels.names.index(name) for name in names])
        for labels in (metadata.samples for metadata in own)
    ]
    return _behind(inputs, "samples", permuted, maps, add_dimension)


def _behind(
    inputs: _Inputs, axis: str, labels: Sequence[Labels], maps: Sequence[int], add_dimension: str | None
) -> Labels:
    """Labels behind each other; with a new dimension, which holds the numbers of their maps."""
    if len(labels) == 1 and add_dimension is None:
        return labels[0]
    names = labels[0].names
    table = np.concatenate([own.values for own in labels])
    numbers = np.repeat(np.asarray(maps, np.int32), [len(own) for own in labels])
    if add_dimension is None:
        check_unique(
            f"{inputs.call}: the joined {axis}",
            names,
            table,
            where=lambda *rows: " and ".join(f"{inputs.argument}[{numbers[row]}]" for row in rows),
            advice="add_dimension='…' distinguishes them",
        )
        return Labels(names, table, assume_unique=True)
    if not isinstance(add_dimension, str):
        raise TypeError(f"{inputs.call}: add_dimension must be a str, got {kind_of(add_dimension)}")
    if add_dimension in names:
        raise ValidationError(
            f"{inputs.call}: add_dimension={add_dimension!r} is one of the dimensions of the {axis} already, "
            f"{names}; use another name"
        )
    return Labels([*names, add_dimension], np.column_stack([table, numbers]), assume_unique=True)


def _renumbered(counts: Sequence[int], maps: Sequence[int]) -> Labels:
    """Labels for properties of different names: the number of the map, and of the property in it."""
    table = np.column_stack([np.repeat(maps, counts), np.concatenate([np.arange(count) for count in counts])])
    return Labels(["joined_index", "property"], table, assume_unique=True)
