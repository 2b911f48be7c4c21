"""Concatenating maps along samples, properties or keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from outgrad._foreign import kind_of
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks, concatenated, leading
from outgrad.engine.convert import converted
from outgrad.engine.shuffle.blocks import Origin, RowOrder, Target, moved
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
    r"""Concatenate maps along samples, properties or keys.

    .. math:: h = (X^{(1)}, X^{(2)}, \dots), \qquad \nabla h = (\nabla X^{(1)}, \nabla X^{(2)}, \dots)

    Along samples, gradient rows are concatenated like the samples. Along properties, the result has the union
    of the gradient rows; a row that a map lacks is zero there. The rows of a sample keep their order if they
    are the same in all maps; otherwise they are sorted.

    Parameters
    ----------
    tensors : list or tuple of TensorMap
        At least one map, values (S\ :sub:`m`, \*C, P) or (S, \*C, P\ :sub:`m`).
    axis : {"samples", "properties", "keys"}
        The axis to concatenate along.

        - "samples": components and properties must be the same. Sample dimensions may be in any order; the
          result uses that of the first map.
        - "properties": samples and components must be the same. If the property names differ, the properties
          of the result are called ``joined_index`` (number of the map) and ``property``.
        - "keys": the keys of all maps must be distinct.
    different_keys : {"error", "intersection", "union"}
        How to treat keys that not all maps have, along samples and properties: raise an error, drop them (in
        the order of :meth:`Labels.intersection`), or keep them (in order of first appearance).
    add_dimension : str, optional
        Name of a new last dimension for the joined labels; it holds the number of the map.

    Returns
    -------
    TensorMap
        Values (Σ S\ :sub:`m`, \*C, P) or (S, \*C, Σ P\ :sub:`m`), with NumPy's common dtype of all maps. An
        ``info`` entry is kept unless maps disagree on it. Blocks joined along keys share their arrays with
        the result, and so does a single map without a new dimension.

    Raises
    ------
    TypeError
        If ``tensors`` is not a list or tuple of maps.
    NotEqualError
        If keys, or labels that must be the same, differ.
    ValidationError
        If ``tensors`` is empty, the joined labels are not unique, sample names differ, or ``axis`` or
        ``different_keys`` is invalid.

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
    inputs = _Inputs("join", "tensors", _contents_of("join", "tensors", tensors, TensorMap))
    _check_word("join", "axis", axis, ("samples", "properties", "keys"))
    _check_word("join", "different_keys", different_keys, ("error", "intersection", "union"))
    if axis == "keys" and different_keys != "error":
        raise ValidationError(
            f"join: different_keys={different_keys!r} applies to samples and properties only; leave it out, "
            "all keys are kept"
        )
    # texts of which all maps that have them say the same
    infos = [tensor._info for tensor in tensors]
    texts = {key: text for info in reversed(infos) for key, text in info.items()}
    info = {key: text for key, text in texts.items() if all(i.get(key, text) == text for i in infos)}
    if len(tensors) == 1 and add_dimension is None:
        return TensorMap._of(tensors[0].keys, inputs.contents[0], info)
    if axis == "keys":
        keys, result = _join_keys(inputs, [tensor.keys for tensor in tensors], add_dimension)
    else:
        keys, groups = _joined_keys([tensor.keys for tensor in tensors], different_keys)
        result = _join(inputs, groups, axis, add_dimension)
    return TensorMap._of(keys, result, info)


def join_blocks(blocks: Sequence[TensorBlock], axis: str, add_dimension: str | None = None) -> TensorBlock:
    r"""Concatenate blocks along samples or properties; see :func:`join` for the formulas.

    Parameters
    ----------
    blocks : list or tuple of TensorBlock
        At least one block.
    axis : {"samples", "properties"}
        The axis to concatenate along.
    add_dimension : str, optional
        Name of a new last dimension for the joined labels; it holds the number of the block.

    Returns
    -------
    TensorBlock
        Values (Σ S\ :sub:`m`, \*C, P) or (S, \*C, Σ P\ :sub:`m`).

    Raises
    ------
    TypeError, NotEqualError, ValidationError
        As for :func:`join`.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.join_blocks([block, block], "properties", add_dimension="part").values
    array([[1., 2., 1., 2.]])
    """
    inputs = _Inputs("join_blocks", "blocks", _contents_of("join_blocks", "blocks", blocks, TensorBlock))
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
def _contents_of(call: str, argument: str, given: Any, kind: type) -> list[Blocks]:
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


# ---- keys ----
def _joined_keys(keys: Sequence[Labels], different_keys: str) -> tuple[Labels, list[Group]]:
    """Keys of the result, and the blocks that belong to each."""
    if different_keys == "error":
        orders = [key_order("join", keys[0], each) for each in keys]
        return keys[0], [list(enumerate(numbers)) for numbers in zip(*orders, strict=True)]
    _check_key_names(keys)
    if different_keys == "intersection":
        common = keys[0]
        for others in keys[1:]:
            common = common.intersection(others)
        orders = [find_rows(each.values, common.values).tolist() for each in keys]
        return common, [list(enumerate(numbers)) for numbers in zip(*orders, strict=True)]
    table, positions = unite([each.values for each in keys], sort=False)
    groups: list[list[tuple[int, int]]] = [[] for _ in table]
    for m, of_map in enumerate(positions):
        for number, position in enumerate(of_map.tolist()):
            groups[position].append((m, number))
    return Labels(keys[0].names, table, assume_unique=True), list(groups)


def _check_key_names(keys: Sequence[Labels]) -> None:
    for others in keys[1:]:
        if others.names != keys[0].names:
            raise NotEqualError(
                f"inputs to 'join' should have the same key names; found {keys[0].names} and {others.names}"
            )


def _join_keys(inputs: _Inputs, keys: Sequence[Labels], add_dimension: str | None) -> tuple[Labels, Blocks]:
    _check_key_names(keys)
    labels = _concatenated(inputs, "keys", keys, range(len(keys)), add_dimension)
    for head in inputs.heads[1:]:
        check_same_names("join", inputs.heads[0], head)
    if not inputs.heads:
        return labels, inputs.contents[0]
    return labels, concatenated([converted(blocks, inputs.dtype, None, None) for blocks in inputs.contents])


# ---- samples and properties ----
def _join(inputs: _Inputs, groups: Sequence[Group], axis: str, add_dimension: str | None) -> Blocks:
    _check_joinable(inputs, groups, axis)
    if not groups:
        return leading(inputs.contents).select([])
    renumbered = axis == "properties" and _property_names_differ(inputs, add_dimension)
    sources: list[tuple[Blocks, int]] = []
    targets = []
    for group in groups:
        members = [inputs.contents[m].metadata[n] for m, n in group]
        maps = [m for m, _ in group]
        labels: Labels
        if renumbered:  # the number of the map, and of the property in it
            counts = [len(metadata.properties) for metadata in members]
            numbers = np.concatenate([np.arange(count) for count in counts])
            table = np.column_stack([np.repeat(maps, counts), numbers])
            labels = Labels(["joined_index", "property"], table, assume_unique=True)
        else:
            along = [getattr(metadata, axis) for metadata in members]
            labels = _concatenated(inputs, axis, along, maps, add_dimension)
        changed: dict[str, Any] = {axis: labels}
        head = replace(members[0], **changed)
        # The rows or columns of a block follow those of the block before.
        edges = np.cumsum([0, *(len(getattr(metadata, axis)) for metadata in members)]).tolist()
        origins = [Origin(len(sources))]
        if len(members) > 1:
            spans = [np.arange(*ends, dtype=np.int32) for ends in pairwise(edges)]
            origins = [
                Origin(len(sources) + n, span) if axis == "samples" else Origin(len(sources) + n, None, span)
                for n, span in enumerate(spans)
            ]
        order = None if axis == "samples" else RowOrder.MERGED
        targets.append(Target(head, tuple(origins), order, inputs.dtype))
        sources += [(inputs.contents[m], n) for m, n in group]
    return moved(inputs.call, sources, targets)


def _check_joinable(inputs: _Inputs, groups: Sequence[Group], axis: str) -> None:
    """Blocks that are joined along one axis agree in the others."""
    same = ("components", "properties") if axis == "samples" else ("samples", "components")
    for head in inputs.heads[1:] if axis == "samples" else ():
        names = [own.samples.names for own in (inputs.heads[0], head)]
        if set(names[0]) != set(names[1]):
            raise ValidationError(
                f"{inputs.call}: the {inputs.argument} have different sample names, {names[0]} and "
                f"{names[1]}, and joining them along samples would lose information; rename or "
                "remove dimensions first"
            )
    for group in groups:
        first, *others = [(inputs.contents[m].metadata[n], inputs.where(m, n)) for m, n in group]
        for metadata, where in others:
            check_labels(inputs.call, first[0], metadata, where, same)
    for head in inputs.heads[1:]:
        check_same_names(inputs.call, inputs.heads[0], head, same)


def _property_names_differ(inputs: _Inputs, add_dimension: str | None) -> bool:
    names = [head.properties.names for head in inputs.heads]
    other = next((each for each in names if each != names[0]), None)
    if other is not None and add_dimension is not None:
        raise ValidationError(
            f"{inputs.call}: add_dimension={add_dimension!r} is not possible when the {inputs.argument} have "
            f"different property names, {names[0]} and {other}; "
            "leave it out, the result has the dimension 'joined_index'"
        )
    return other is not None


def _concatenated(
    inputs: _Inputs, axis: str, labels: Sequence[Labels], maps: Sequence[int], add_dimension: str | None
) -> Labels:
    """Concatenate labels; with a new dimension, which holds the numbers of their maps."""
    if len(labels) == 1 and add_dimension is None:
        return labels[0]
    names = labels[0].names
    if axis == "samples":  # their dimensions may come in another order
        labels = [
            each if each.names == names else each.permute([each.names.index(name) for name in names])
            for each in labels
        ]
    table = np.concatenate([each.values for each in labels])
    numbers = np.repeat(np.asarray(maps, np.int32), [len(each) for each in labels])
    if add_dimension is None:
        check_unique(
            f"{inputs.call}: the joined {axis}",
            names,
            table,
            where=lambda *rows: " and ".join(f"{inputs.argument}[{numbers[row]}]" for row in rows),
            advice="use add_dimension='…' to distinguish them",
        )
        return Labels(names, table, assume_unique=True)
    if not isinstance(add_dimension, str):
        raise TypeError(f"{inputs.call}: add_dimension must be a str, got {kind_of(add_dimension)}")
    if add_dimension in names:
        raise ValidationError(
            f"{inputs.call}: add_dimension={add_dimension!r} is already one of the dimensions of the {axis}, "
            f"{names}; use another name"
        )
    return Labels([*names, add_dimension], np.column_stack([table, numbers]), assume_unique=True)
