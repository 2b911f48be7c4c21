"""A map: blocks found by their keys."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, SupportsIndex, final

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.errors import ValidationError
from outgrad.labels import Labels, LabelsEntry
from outgrad.lazy import LazyBlocks, collect
from outgrad.lazy.collection import LazyCollection
from outgrad.tensor import check, show
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.blocks import Blocks, computed, rechunk, to_lazy
from outgrad.tensor.convert import converted, copied
from outgrad.tensor.operators import Operators

Selection = int | Labels | LabelsEntry | Mapping[str, int]


@final
class TensorMap(Operators, LazyCollection):
    """Blocks, each with a key; all have the same names, gradients and dtype.

    The blocks are not consumed and can be used again. If one of them is lazy, all become lazy.

    Parameters
    ----------
    keys : Labels
        One entry for each block.
    blocks : sequence of TensorBlock
        The blocks, in the order of the keys.

    Raises
    ------
    ValidationError
        If keys and blocks differ in number, or blocks differ in names, gradients or dtype.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((2, 3)))
    >>> print(og.TensorMap(og.Labels(["center_type"], [[6]]), [block]))
    TensorMap with 1 block
    keys: center_type
               6
    """

    _keys: Labels
    _content: Blocks
    _info: dict[str, str]

    def __init__(self, keys: Labels, blocks: Sequence[TensorBlock]) -> None:
        if not isinstance(keys, Labels):
            raise TypeError(f"TensorMap: keys must be Labels, got {type(keys).__name__}")
        blocks = list(blocks)
        for number, block in enumerate(blocks):
            if not isinstance(block, TensorBlock):
                raise TypeError(
                    f"TensorMap: blocks[{number}] must be a TensorBlock, got {type(block).__name__}"
                )
        if len(keys) != len(blocks):
            raise ValidationError(
                f"TensorMap: there are {len(keys)} keys, but {len(blocks)} blocks; give one block a key"
            )
        self._keys, self._content, self._info = keys, _joined(blocks), {}
        check.same_names(self._content.metadata, map(self._content.dtype, range(len(blocks))))

    @classmethod
    def _of(cls, keys: Labels, content: Blocks, info: Mapping[str, str]) -> Self:
        map_ = cls.__new__(cls)
        map_._keys, map_._content, map_._info = keys, content, dict(info)
        return map_

    def _blocks(self) -> Blocks:
        return self._content

    # ---- keys and blocks ----
    @property
    def keys(self) -> Labels:
        """One entry for each block."""
        return self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[TensorBlock]:
        return (self.block_by_id(number) for number in range(len(self)))

    def items(self) -> Iterator[tuple[LabelsEntry, TensorBlock]]:
        """Yield ``(key, block)`` for every block."""
        return zip(self._keys, self, strict=True)

    def block(self, selection: Selection | None = None, **keys: int) -> TensorBlock:
        """Return the one block that is selected by its number or its key.

        Parameters
        ----------
        selection : int, Labels with one entry, LabelsEntry or dict, optional
            The number of the block, or values of some dimensions of its key. Nothing selects the only block.
        **keys : int
            The same as keyword arguments: ``block(center_type=7)``.

        Returns
        -------
        TensorBlock
            The block, sharing the arrays of the map.

        Raises
        ------
        ValueError
            If no block or more than one is selected.
        IndexError
            If there is no block of this number.
        """
        numbers = self._select("block", selection, keys)
        if len(numbers) != 1:
            found = "no block is" if len(numbers) == 0 else f"{len(numbers)} blocks are"
            raise ValidationError(
                f"block({_shown(selection, keys)}): {found} selected, one is needed; "
                f"the keys are {self._keys.names} with {len(self)} entries"
                + ("" if len(numbers) == 0 else "; add dimensions, or call blocks(…)")
            )
        return self.block_by_id(int(numbers[0]))

    def blocks(self, selection: Selection | None = None, **keys: int) -> list[TensorBlock]:
        """Return the blocks that are selected by number or key; without a selection, all.

        Raises
        ------
        ValueError
            If a selection fits no block.
        """
        numbers = self._select("blocks", selection, keys)
        if len(numbers) == 0 and len(self) > 0:
            raise ValidationError(
                f"blocks({_shown(selection, keys)}): no block is selected; "
                f"the keys are {self._keys.names} with {len(self)} entries"
            )
        return [self.block_by_id(int(number)) for number in numbers]

    def block_by_id(self, index: SupportsIndex) -> TensorBlock:
        """Return the block of this number; negative ones count from the end."""
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"block_by_id({number}): the map has {len(self)} blocks, numbered from 0")
        return TensorBlock._of(self._content, number % len(self))

    def blocks_by_id(self, indices: Sequence[int]) -> list[TensorBlock]:
        """Return the blocks of these numbers."""
        return [self.block_by_id(index) for index in indices]

    def __getitem__(self, selection: Selection) -> TensorBlock:
        return self.block(selection)

    def _select(self, call: str, selection: Any, keys: Mapping[str, int]) -> Sequence[int]:
        if selection is not None and keys:
            raise TypeError(f"{call}: give a selection or keyword arguments, not both")
        chosen = keys if selection is None else selection
        if isinstance(chosen, (Labels, LabelsEntry, Mapping)):
            return self._by_key(call, chosen)
        try:
            return [self.block_by_id(chosen)._number]
        except TypeError:
            raise TypeError(
                f"{call}: a block is selected by an int, Labels, a LabelsEntry, a dict or keyword arguments, "
                f"got {type(chosen).__name__}"
            ) from None

    def _by_key(self, call: str, chosen: Labels | LabelsEntry | Mapping[str, int]) -> Sequence[int]:
        if isinstance(chosen, Mapping):
            if not chosen:
                return range(len(self))
            values = [_key_value(call, name, value) for name, value in chosen.items()]
            chosen = Labels(list(chosen), np.array([values]))
        return [int(number) for number in self._keys.select(chosen)]

    # ---- names ----
    @property
    def sample_names(self) -> list[str]:
        """Names of the sample dimensions of all blocks; [] without blocks."""
        return self._content.metadata[0].samples.names if len(self) else []

    @property
    def component_names(self) -> list[str]:
        """Names of the components of all blocks."""
        return [c.names[0] for c in self._content.metadata[0].components] if len(self) else []

    @property
    def property_names(self) -> list[str]:
        """Names of the property dimensions of all blocks."""
        return self._content.metadata[0].properties.names if len(self) else []

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Dtype of all blocks; None without blocks."""
        return self._content.dtype(0) if len(self) else None

    @property
    def device(self) -> str:
        """Always "cpu"."""
        return "cpu"

    @property
    def nbytes(self) -> int:
        """Bytes of all values and gradients."""
        return self._content.nbytes

    @property
    def is_view(self) -> bool:
        """Always False: maps own their blocks."""
        return False

    # ---- info ----
    def set_info(self, key: str, value: str) -> None:
        """Keep a text with the map; it survives operations and storage."""
        if not (isinstance(key, str) and isinstance(value, str)):
            raise TypeError(f"set_info({key!r}, {value!r}): both must be str")
        self._info[key] = value

    def get_info(self, key: str) -> str | None:
        """Return the text kept under ``key``, or None."""
        return self._info.get(key)

    def info(self) -> dict[str, str]:
        """Return all texts kept with the map."""
        return dict(self._info)

    # ---- copies ----
    def copy(self, deep: bool = True) -> TensorMap:
        """Return a copy; with ``deep=False`` it shares the values. Labels are always shared."""
        return TensorMap._of(self._keys, copied(self._content) if deep else self._content, self._info)

    def __copy__(self) -> TensorMap:
        return self.copy(deep=False)

    def __deepcopy__(self, memo: Any) -> TensorMap:
        return self.copy()

    def to(self, *, dtype: Any = None, device: str | None = None, arrays: str | None = None) -> TensorMap:
        """Return a map of another ``dtype``, or with ``arrays="numpy"`` or ``"dask"``."""
        return TensorMap._of(self._keys, converted(self._content, dtype, device, arrays), self._info)

    # ---- chunks and Dask ----
    def chunk(self, target_bytes: int | str | None = None) -> TensorMap:
        """Return the map as lazy chunks of about ``target_bytes`` of values and gradients.

        Chunks hold whole samples with all their gradient rows, and whole systems where the samples are
        sorted by system. Small blocks share a task.

        Parameters
        ----------
        target_bytes : int or str, optional
            Such as ``"64 MiB"``; the default is the configuration ``outgrad.chunk-bytes``.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> block = og.block_from_array(np.ones((4, 3)))
        >>> map = og.TensorMap(og.Labels.single(), [block]).chunk(target_bytes=48)
        >>> map.block().values.chunks
        ((2, 2), (3,))
        """
        return TensorMap._of(self._keys, rechunk(self._content, chunk_bytes(target_bytes)), self._info)

    def _lazy_blocks(self) -> LazyBlocks | None:
        return self._content.lazy

    def _rebuild(self, blocks: LazyBlocks) -> TensorMap:
        return TensorMap._of(self._keys, Blocks(self._content.metadata, blocks), self._info)

    def _finalize(self, results: Any) -> TensorMap:
        lazy = self._content.lazy
        assert lazy is not None, "only lazy data are computed"
        content = Blocks(self._content.metadata, computed(lazy, list(results)))
        return TensorMap._of(self._keys, content, self._info)

    def __dask_tokenize__(self) -> Any:
        return "outgrad.TensorMap", self._keys.digest, show.token(self._content)

    # ---- print forms ----
    def print(self, max_keys: int = -1) -> str:
        """Return the number of blocks and the keys as text; -1 shows all keys."""
        return show.map_text(self._keys, max_keys)

    def __str__(self) -> str:
        return self.print(show.MAX_KEYS)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return show.map_html(self._keys, self._content, self._info)

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorMap._of, (self._keys, self._content, self._info)


def _key_value(call: str, name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{call}: the value of {name!r} must be an int, got {value!r}") from None


def _shown(selection: Any, keys: Mapping[str, int]) -> str:
    if selection is None:
        return ", ".join(f"{name}={value}" for name, value in keys.items())
    return repr(selection)


def _joined(blocks: Sequence[TensorBlock]) -> Blocks:
    """The content of several blocks as one; lazy as soon as one of them is lazy."""
    whole = _whole_content(blocks)
    if whole is not None:
        return whole
    single = [block._blocks() for block in blocks]
    metadata = tuple(content.metadata[0] for content in single)
    if all(content.lazy is None for content in single):
        return Blocks(metadata, tuple(content.chunk(0) for content in single))
    target = chunk_bytes()
    lazies = [to_lazy(content, target).lazy for content in single]
    return Blocks(metadata, collect([(lazy, 0) for lazy in lazies if lazy is not None], target))


def _whole_content(blocks: Sequence[TensorBlock]) -> Blocks | None:
    """The common source, if these are all its blocks in order, or a choice of its lazy blocks."""
    sources = {id(block._source) for block in blocks}
    if len(sources) != 1 or any(block._path for block in blocks):
        return None
    return blocks[0]._source.select([block._number for block in blocks])
