"""Moving dimensions from the keys to properties or samples, and from components to properties."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np

from outgrad._foreign import kind_of
from outgrad.data.metadata import BlockMetadata
from outgrad.data.positions import Index
from outgrad.engine.map.blocks import run_rule
from outgrad.engine.shuffle.blocks import Origin, RowOrder, Target, moved
from outgrad.errors import ValidationError
from outgrad.gradients.elementwise import FOLD_AXES
from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows, is_sorted_rows
from outgrad.labels.sets import append_to_rows, distinct_rows, members, product, unite
from outgrad.ops.operands import Names, T, content, is_number, like, names_of
from outgrad.ops.twins import block_twin
from outgrad.tensor.map import TensorMap

Placed = tuple[Labels, list[Index | None]]
"""Labels of a merged block, and where the entries of each block are among them; None where nothing moves."""


def keys_to_properties(
    tensor: TensorMap,
    keys_to_move: Names | Labels,
    *,
    fill_value: complex | float = 0.0,
    sort_samples: bool = True,
) -> TensorMap:
    r"""Move key dimensions into the properties, merging the blocks that then share a key.

    .. math:: h_{s,(k,p)} = X^{(k)}_{s,p}, \qquad \nabla h_{r,(k,p)} = \nabla X^{(k)}_{r,p}

    where k is the value of the moved dimensions. The result has the union of the samples and of the gradient
    rows of the merged blocks. If a block lacks a sample or a gradient row of another one, its columns hold
    ``fill_value`` there.

    Parameters
    ----------
    tensor : TensorMap
        Values (S, \*C, P); blocks that are merged must have the same components.
    keys_to_move : str, list of str or Labels
        Key dimensions to move, in the order in which they become property dimensions. Labels with entries
        also select and order the values that become properties. The merged blocks must then have the same
        properties; values without a block are filled, and blocks with other values only contribute their
        samples and gradient rows.
    fill_value : number
        Value of missing entries. It must fit the dtype of the map: NaN, for example, needs floating-point
        numbers.
    sort_samples : bool
        Sort the samples; otherwise they are in order of first appearance. Gradient rows are always sorted.

    Returns
    -------
    TensorMap
        One block per distinct value of the remaining key dimensions, in order of first appearance; if no
        dimension remains, the single key is ``_ = 0``. The properties of the merged blocks are concatenated,
        with the moved dimensions in front.

    Raises
    ------
    ValidationError
        If a dimension is unknown, repeated or already one of the properties, the map is empty, components
        differ, or ``fill_value`` does not fit the dtype.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> blocks = [og.block_from_array(np.full((1, 2), z)) for z in (6.0, 8.0)]
    >>> map = og.TensorMap(og.Labels("center_type", [[6], [8]]), blocks)
    >>> block = og.keys_to_properties(map, "center_type").block()
    >>> block.values
    array([[6., 6., 8., 8.]])
    >>> block.properties.names
    ['center_type', 'property']
    """
    plan = _KeyMove.of("keys_to_properties", "properties", tensor, keys_to_move, fill_value, sort_samples)
    return plan.merged()


def keys_to_samples(
    tensor: TensorMap,
    keys_to_move: Names | Labels,
    *,
    fill_value: complex | float = 0.0,
    sort_samples: bool = True,
) -> TensorMap:
    r"""Move key dimensions into the samples, merging the blocks that then share a key.

    .. math:: h_{(s,k),p} = X^{(k)}_{s,p}, \qquad \nabla h_{(r,k),p} = \nabla X^{(k)}_{r,p}

    where k is the value of the moved dimensions. The result has the union of the properties of the merged
    blocks, in order of first appearance. Where a block lacks a property that another one has, its rows hold
    ``fill_value``, in gradients too.

    Parameters
    ----------
    tensor : TensorMap
        Values (S, \*C, P); blocks that are merged must have the same components.
    keys_to_move : str, list of str or Labels without entries
        Key dimensions to move, in the order in which they become sample dimensions, after the existing ones.
    fill_value : number
        Value of missing entries. It must fit the dtype of the map: NaN, for example, needs floating-point
        numbers.
    sort_samples : bool
        Sort the samples; otherwise those of the merged blocks are concatenated. Gradient rows are always
        sorted.

    Returns
    -------
    TensorMap
        One block per distinct value of the remaining key dimensions, in order of first appearance; if no
        dimension remains, the single key is ``_ = 0``.

    Raises
    ------
    ValidationError
        If a dimension is unknown, repeated or already one of the samples, the map is empty, components
        differ, ``keys_to_move`` has entries, or ``fill_value`` does not fit the dtype.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> blocks = [og.block_from_array(np.full((1, 2), z)) for z in (6.0, 8.0)]
    >>> map = og.TensorMap(og.Labels("center_type", [[6], [8]]), blocks)
    >>> print(og.keys_to_samples(map, "center_type").block().samples)
    Labels(
        sample  center_type
          0          6
          0          8
    )
    """
    return _KeyMove.of("keys_to_samples", "samples", tensor, keys_to_move, fill_value, sort_samples).merged()


def components_to_properties(tensor: T, dimensions: Names) -> T:
    r"""Move components into the properties.

    .. math:: h_{s,(c,p)} = X_{s,c,p}, \qquad \nabla h_{r,(c,p)} = \nabla X_{r,c,p}

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    dimensions : str or list of str
        Components to move. Each in turn becomes the first property dimension, so the last one ends up in
        front. Without names, nothing changes.

    Returns
    -------
    TensorMap or TensorBlock
        Values and gradients without these components; the original properties vary fastest.

    Raises
    ------
    ValidationError
        If a component does not exist, or the properties already have a dimension of this name.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.arange(6.0).reshape(1, 3, 2), component_names=["xyz"])
    >>> og.components_to_properties(block, "xyz").values
    array([[0., 1., 2., 3., 4., 5.]])
    """
    call = "components_to_properties"
    blocks = content(call, "tensor", tensor)
    names = names_of(call, "dimensions", dimensions)
    if not names:
        return copy(tensor)
    folds = [_fold_components(call, metadata, names) for metadata in blocks.metadata]
    return like(
        tensor, run_rule(FOLD_AXES, [blocks], lambda n: (folds[n][0],), lambda n, metadata: folds[n][1])
    )


@dataclass(frozen=True)
class _KeyMove:
    """What moves where; checked as far as no labels of blocks have to be read."""

    call: str
    axis: str
    tensor: TensorMap
    names: list[str]
    requested: Labels | None
    fill: complex | float
    sort_samples: bool

    @classmethod
    def of(
        cls, call: str, axis: str, tensor: TensorMap, keys_to_move: Any, fill_value: Any, sort_samples: bool
    ) -> _KeyMove:
        if not isinstance(tensor, TensorMap):
            raise TypeError(f"{call}: tensor must be a TensorMap, got {kind_of(tensor)}")
        if len(tensor) == 0:
            raise ValidationError(
                f"{call}: there are no keys to move in an empty TensorMap; check that len(tensor) > 0"
            )
        names, requested = _names_and_entries(call, tensor.keys, keys_to_move)
        if requested is not None and axis == "samples":
            raise ValidationError(
                f"{call}: keys_to_move should not contain any entry, got Labels with {len(requested)}; "
                f"pass the names {names}, and select blocks first"
            )
        first = tensor._blocks().metadata[0]
        _check_clash(call, names, axis, first.samples if axis == "samples" else first.properties)
        fill = fill_number(call, fill_value, tensor._blocks().dtype(0))
        return cls(call, axis, tensor, names, requested, fill, sort_samples)

    def merged(self) -> TensorMap:
        """The map of merged blocks, at once or lazily."""
        keys, blocks_of_keys = self._new_keys()
        blocks = self.tensor._blocks()
        inputs = [(blocks, number) for number in range(len(blocks))]
        targets = [self._target(numbers) for numbers in blocks_of_keys]
        return TensorMap._of(keys, moved(self.call, inputs, targets, self.fill), self.tensor._info)

    def _new_keys(self) -> tuple[Labels, list[Index]]:
        """The new keys, and the blocks of each, in the order of the keys."""
        keys = self.tensor.keys
        kept = [name for name in keys.names if name not in self.names]
        if len(kept) == len(keys.names):
            return keys, members(np.arange(len(keys)))
        rows, number = distinct_rows(keys.values[:, [keys.names.index(name) for name in kept]])
        return Labels(kept, rows, assume_unique=True) if kept else Labels.single(), members(number)

    def _target(self, numbers: Index) -> Target:
        """One of the new blocks, which is put together from some blocks."""
        metadata = [self.tensor._blocks().metadata[number] for number in numbers]
        for number, other in zip(numbers[1:], metadata[1:], strict=True):
            self._check_components(metadata[0], other, [int(numbers[0]), int(number)])
        keys = self.tensor.keys
        moved_keys = keys.values[numbers][:, [keys.names.index(name) for name in self.names]]
        move_keys = self._into_samples if self.axis == "samples" else self._into_properties
        (samples, rows), (properties, columns) = move_keys(moved_keys, metadata)
        head = BlockMetadata(samples, metadata[0].components, properties)
        origins = [Origin(int(n), r, c) for n, r, c in zip(numbers, rows, columns, strict=True)]
        return Target(head, tuple(origins), RowOrder.SORTED)

    def _check_components(self, first: BlockMetadata, other: BlockMetadata, numbers: Sequence[int]) -> None:
        for path, metadata in first.walk():
            for a, b in zip(metadata.components, other.at(path).components, strict=True):
                if a != b:
                    where = f" of the gradient {'/'.join(path)!r}" if path else ""
                    advice = "make them the same" if path else "call components_to_properties first"
                    keys = " and ".join(self.tensor.keys.entry(number).print() for number in numbers)
                    raise ValidationError(
                        f"{self.call}: can not move keys to {self.axis} if the blocks have different "
                        f"components labels, {advice}; the component {a.names[0]!r}{where} differs in the "
                        f"blocks {keys}: {_first_entries(a)} and {_first_entries(b)}"
                    )

    def _into_samples(self, keys: Any, metadata: Sequence[BlockMetadata]) -> tuple[Placed, Placed]:
        samples = [
            Labels([*m.samples.names, *self.names], append_to_rows(m.samples.values, key), assume_unique=True)
            if self.names
            else m.samples
            for key, m in zip(keys, metadata, strict=True)
        ]
        properties = _united_labels([m.properties for m in metadata], sort=False)
        return _united_labels(samples, self.sort_samples), properties

    def _into_properties(self, keys: Any, metadata: Sequence[BlockMetadata]) -> tuple[Placed, Placed]:
        samples = _united_labels([m.samples for m in metadata], self.sort_samples)
        old = [m.properties for m in metadata]
        if self.requested is not None:
            return samples, self._requested_properties(self.requested, keys, old)
        tables = [product(key[None, :], labels.values) for key, labels in zip(keys, old, strict=True)]
        ends = np.cumsum([0, *map(len, tables)], dtype=np.int32)
        properties = old[0]
        if self.names:
            names = [*self.names, *properties.names]
            properties = Labels(names, np.concatenate(tables), assume_unique=True)
        return samples, (properties, [np.arange(*pair, dtype=np.int32) for pair in pairwise(ends)])

    def _requested_properties(self, requested: Labels, keys: Any, old: Sequence[Labels]) -> Placed:
        """Properties for each key that is asked for; blocks of other keys have no columns."""
        for labels in old[1:]:
            if labels != old[0]:
                raise ValidationError(
                    f"{self.call}: can not provide values for the keys to move to properties if the blocks "
                    f"have different property labels; pass the names {self.names} without entries"
                )
        count = len(old[0])
        columns: list[Index | None] = [
            np.full(count, -1, np.int32) if number < 0 else np.arange(count, dtype=np.int32) + count * number
            for number in find_rows(requested.values, keys).tolist()
        ]
        table = product(requested.values, old[0].values)
        return Labels([*self.names, *old[0].names], table, assume_unique=True), columns


def _first_entries(labels: Labels) -> str:
    entries = labels.values[:, 0].tolist()
    if len(entries) <= 10:
        return str(entries)
    return f"[{', '.join(map(str, entries[:10]))}, …] of {len(entries)}"


def _names_and_entries(call: str, keys: Labels, given: Any) -> tuple[list[str], Labels | None]:
    """Names to move, and the entries that are asked for, if any are."""
    requested = given if isinstance(given, Labels) and len(given) else None
    names = given.names if isinstance(given, Labels) else names_of(call, "keys_to_move", given)
    unknown = [name for name in names if name not in keys.names]
    if unknown:
        raise ValidationError(
            f"{call}: {unknown[0]!r} is not part of the keys for this tensor map, whose dimensions are "
            f"{keys.names}"
        )
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ValidationError(
            f"{call}: label dimensions must be unique, got {repeated!r} multiple times in keys_to_move; "
            "name it once"
        )
    return names, requested


def _check_clash(call: str, names: Sequence[str], axis: str, labels: Labels) -> None:
    clash = [name for name in names if name in labels.names]
    if clash:
        raise ValidationError(
            f"{call}: label dimensions must be unique, but {clash} would occur twice in the {axis}, whose "
            f"dimensions are {labels.names}; rename one of the two"
        )


def fill_number(call: str, given: Any, dtype: np.dtype[Any]) -> complex | float:
    """The value as the dtype holds it; what the dtype cannot hold is an error."""
    if not is_number(given):
        raise TypeError(f"{call}: fill_value must be a single number, got {kind_of(given)}")
    plain = given.item() if hasattr(given, "item") else given
    if not isinstance(plain, (int, float, complex)):  # fractions, long doubles
        plain = complex(plain) if np.iscomplexobj(plain) else float(plain)
    if not _fits(plain, dtype):
        raise ValidationError(
            f"{call}: fill_value {plain} does not fit into {dtype}, the dtype of the map; "
            "convert it first with .to(dtype=…)"
        )
    number: complex | float = dtype.type(plain).item()
    return number


def _fits(value: complex | float, dtype: np.dtype[Any]) -> bool:
    """Whether the dtype holds the value: of floating-point numbers, rounded; of others, exactly."""
    if isinstance(value, complex):
        return dtype.kind == "c" and _fits(value.real, dtype) and _fits(value.imag, dtype)
    if dtype.kind in "fc":
        return value != value or abs(value) == inf or abs(value) <= float(np.finfo(dtype).max)
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return bool(limits[0] <= value <= limits[1] and value == int(value))


def _united_labels(labels: Sequence[Labels], sort: bool) -> Placed:
    """All entries of several labels; sorted, or in the order in which they appear."""
    first = labels[0]
    if all(other == first for other in labels[1:]) and not (sort and not is_sorted_rows(first.values)):
        return first, [None] * len(labels)
    rows, places = unite([other.values for other in labels], sort)
    return Labels(first.names, rows, assume_unique=True), list(places)


def _fold_components(
    call: str, metadata: BlockMetadata, names: Sequence[str]
) -> tuple[tuple[int, ...], BlockMetadata]:
    """Axes to fold, counted from the end so that they are those of gradients too, and the new labels."""
    components, properties, axes = list(metadata.components), metadata.properties, []
    for name in names:
        known = [component.names[0] for component in components]
        if name not in known:
            raise ValidationError(
                f"{call}: unable to find {name!r} in the components of the values, which are {known}; "
                "give each of their names once"
            )
        _check_clash(call, [name], "properties", properties)
        outer = components.pop(known.index(name))
        axes.append(known.index(name) - len(known) - 1)
        table = product(outer.values, properties.values)
        properties = Labels([name, *properties.names], table, assume_unique=True)
    return tuple(axes), replace(metadata, components=tuple(components), properties=properties)


components_to_properties_block = block_twin(components_to_properties)
