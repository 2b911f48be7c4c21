"""A map: blocks found by their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, SupportsIndex, final

import numpy as np

from outgrad._foreign import kind_of
from outgrad.config import chunk_bytes
from outgrad.engine.content import Blocks, computed, computed_notes, rechunk
from outgrad.engine.convert import conversion, converted, copied
from outgrad.engine.joining import joined
from outgrad.errors import ValidationError
from outgrad.graph.collection import LazyCollection
from outgrad.graph.lazy_blocks import LazyBlocks
from outgrad.labels.display import described
from outgrad.labels.entry import LabelsEntry
from outgrad.labels.labels import Labels
from outgrad.labels.saving import Saving
from outgrad.tensor import check, show
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.info import Info
from outgrad.tensor.reshaping import Reshaping
from outgrad.tensor.select import Selection, number_of, select, shown


@final
class TensorMap(Reshaping, Info, Saving, LazyCollection):
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

    _kind = "map"

    _keys: Labels
    _content: Blocks

    def __init__(self, keys: Labels, blocks: Sequence[TensorBlock]) -> None:
        if not isinstance(keys, Labels):
            raise TypeError(f"TensorMap: keys must be Labels, got {kind_of(keys)}")
        blocks = list(blocks)
        for number, block in enumerate(blocks):
            if not isinstance(block, TensorBlock):
                raise TypeError(f"TensorMap: blocks[{number}] must be a TensorBlock, got {kind_of(block)}")
        if len(keys) != len(blocks):
            raise ValidationError(
                f"TensorMap: there are {len(keys)} keys, but {len(blocks)} blocks; give one block a key"
            )
        self._keys, self._content, self._info = (
            keys,
            joined([block._in_map(keys, number) for number, block in enumerate(blocks)]),
            {},
        )
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
        """Yield ``(key, block)`` for every block.

        Yields
        ------
        (LabelsEntry, TensorBlock)
            In the order of the keys.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> blocks = [og.block_from_array(np.ones((count, 2))) for count in (1, 3)]
        >>> map = og.TensorMap(og.Labels.range("key", 2), blocks)
        >>> [(key["key"], block.shape) for key, block in map.items()]
        [(0, (1, 2)), (1, (3, 2))]
        """
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
        numbers = select("block", self._keys, selection, keys)
        if len(numbers) != 1:
            found = "no block is" if len(numbers) == 0 else f"{len(numbers)} blocks are"
            raise ValidationError(
                f"block({shown(selection, keys)}): {found} selected, one is needed; "
                f"the keys are {described(self._keys)}"
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
        numbers = select("blocks", self._keys, selection, keys)
        if len(numbers) == 0 and len(self) > 0:
            raise ValidationError(
                f"blocks({shown(selection, keys)}): no block is selected; "
                f"the keys are {described(self._keys)}"
            )
        return [self.block_by_id(int(number)) for number in numbers]

    def block_by_id(self, index: SupportsIndex) -> TensorBlock:
        """Return the block of this number.

        Parameters
        ----------
        index : int
            From 0; negative ones count from the end.

        Returns
        -------
        TensorBlock
            The block, sharing the arrays of the map.

        Raises
        ------
        IndexError
            If there is no such block.
        """
        return TensorBlock._of(self._content, number_of("block_by_id", self._keys, index))

    def blocks_by_id(self, indices: Sequence[int]) -> list[TensorBlock]:
        """Return the blocks of these numbers.

        Parameters
        ----------
        indices : sequence of int
            From 0; negative ones count from the end.

        Returns
        -------
        list of TensorBlock
            The blocks.

        Raises
        ------
        IndexError
            If there is no such block.
        """
        return [self.block_by_id(index) for index in indices]

    def __getitem__(self, selection: Selection) -> TensorBlock:
        return self.block(selection)

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

    # ---- copies ----
    def copy(self, deep: bool = True) -> TensorMap:
        """Return a copy with the same keys and info. Labels and lazy data are shared in any case.

        Parameters
        ----------
        deep : bool
            Copy the arrays, of gradients too; otherwise they are shared.

        Returns
        -------
        TensorMap
            The copy.
        """
        return TensorMap._of(self._keys, copied(self._content) if deep else self._content, self._info)

    def __copy__(self) -> TensorMap:
        return self.copy(deep=False)

    def __deepcopy__(self, memo: Any) -> TensorMap:
        return self.copy()

    def to(
        self,
        *arguments: Any,
        dtype: Any = None,
        device: str | None = None,
        arrays: str | None = None,
        non_blocking: bool = False,
    ) -> TensorMap:
        """Return the same data with another dtype, or as other arrays; without change they are shared.

        Parameters
        ----------
        *arguments : dtype, type or str
            A dtype such as ``numpy.float32``, or a device; a str is a device.
        dtype : dtype or str, optional
            Dtype of values and gradients.
        device : str, optional
            "cpu"; there is no other.
        arrays : {"numpy", "dask"}, optional
            ``"dask"`` makes lazy chunks; ``"numpy"`` is for data in memory already.
        non_blocking : bool
            Has no effect.

        Returns
        -------
        TensorMap
            The same labels and gradients.

        Raises
        ------
        ValueError
            If something else is asked for, or a dtype or a device is given twice.
        TypeError
            If an argument is neither dtype nor device.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> block = og.block_from_array(np.ones((1, 2)))
        >>> og.TensorMap(og.Labels.single(), [block]).to(np.float32).dtype
        dtype('float32')
        """
        dtype, device = conversion(arguments, dtype, device)
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
        parts = list(results)
        content = Blocks(self._content.metadata, computed(lazy, parts))
        return TensorMap._of(self._keys, content, {**self._info, **computed_notes(lazy, parts)})

    def __dask_tokenize__(self) -> Any:
        return "outgrad.TensorMap", self._keys.digest, show.token(self._content), sorted(self._info.items())

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
