"""A map: blocks with keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self, SupportsIndex, final

import numpy as np

from outgrad._foreign import kind_of
from outgrad.config import chunk_bytes
from outgrad.data.chunk import ChunkList
from outgrad.engine.content import Blocks, Lazy, joined
from outgrad.engine.convert import conversion, converted
from outgrad.errors import ValidationError
from outgrad.graph.collection import LazyCollection, Texts
from outgrad.graph.lazy_blocks import LazyBlocks, LazyText
from outgrad.labels.display import described
from outgrad.labels.entry import LabelsEntry
from outgrad.labels.labels import Labels
from outgrad.labels.saving import Saving
from outgrad.late import late
from outgrad.tensor import check, show
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.operators import Operators
from outgrad.tensor.select import Selection, as_call, number_of, select


@final
class TensorMap(Operators, Saving, LazyCollection):
    """Blocks with keys; all blocks have the same label names, gradients and dtype.

    The blocks themselves can be used again. If one of them is lazy, all become lazy.

    Parameters
    ----------
    keys : Labels
        One entry per block.
    blocks : sequence of TensorBlock
        The blocks, in the order of the keys.

    Raises
    ------
    ValidationError
        If the numbers of keys and blocks differ, or blocks differ in names, gradients or dtype.
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
    _info: dict[str, str | LazyText]

    def __init__(self, keys: Labels, blocks: Sequence[TensorBlock]) -> None:
        if not isinstance(keys, Labels):
            raise TypeError(f"TensorMap: keys must be Labels, got {kind_of(keys)}")
        blocks = list(blocks)
        for number, block in enumerate(blocks):
            if not isinstance(block, TensorBlock):
                raise TypeError(f"TensorMap: blocks[{number}] must be a TensorBlock, got {kind_of(block)}")
        if len(keys) != len(blocks):
            raise ValidationError(
                f"TensorMap: got {len(keys)} keys for {len(blocks)} blocks; give one key per block"
            )
        self._keys, self._content, self._info = (
            keys,
            joined([block._in_map(keys, number) for number, block in enumerate(blocks)]),
            {},
        )
        check.same_names(self._content.metadata, map(self._content.dtype, range(len(blocks))))

    @classmethod
    def _of(cls, keys: Labels, content: Blocks, info: Texts) -> Self:
        map_ = cls.__new__(cls)
        map_._keys, map_._content, map_._info = keys, content, dict(info)
        return map_

    def _blocks(self) -> Blocks:
        return self._content

    # ---- keys and blocks ----
    @property
    def keys(self) -> Labels:
        """Labels with one entry per block."""
        return self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[TensorBlock]:
        return (self.block_by_id(number) for number in range(len(self)))

    def items(self) -> Iterator[tuple[LabelsEntry, TensorBlock]]:
        """Iterate over keys and blocks.

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
        """Return one block, selected by its number or its key.

        Parameters
        ----------
        selection : int, Labels with one entry, LabelsEntry or dict, optional
            The number of the block, or values of some or all dimensions of its key. Without arguments, the
            map must have exactly one block.
        **keys : int
            Values of key dimensions as keyword arguments: ``block(center_type=7)``.

        Returns
        -------
        TensorBlock
            The block; its arrays are shared with the map.

        Raises
        ------
        ValueError
            If no block or several blocks are selected.
        IndexError
            If the number is out of range.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> blocks = [og.block_from_array(np.ones((count, 2))) for count in (1, 3)]
        >>> map = og.TensorMap(og.Labels("center_type", [[1], [6]]), blocks)
        >>> map.block(center_type=6).shape, map.block(0).shape
        ((3, 2), (1, 2))
        """
        numbers = select("block", self._keys, selection, keys)
        if len(numbers) != 1:
            found = "no block is" if len(numbers) == 0 else f"{len(numbers)} blocks are"
            raise ValidationError(
                f"block({as_call(selection, keys)}): {found} selected, expected one; "
                f"the keys are {described(self._keys)}"
                + ("" if len(numbers) == 0 else "; add dimensions, or call blocks(…)")
            )
        return self.block_by_id(int(numbers[0]))

    def blocks(self, selection: Selection | None = None, **keys: int) -> list[TensorBlock]:
        """Return the blocks selected by number or key, or all blocks.

        Parameters
        ----------
        selection : int, Labels, LabelsEntry or dict, optional
            The number of a block, or values of some or all key dimensions. Without arguments, all blocks are
            returned.
        **keys : int
            Values of key dimensions as keyword arguments: ``blocks(center_type=7)``.

        Returns
        -------
        list of TensorBlock
            The blocks; their arrays are shared with the map.

        Raises
        ------
        ValueError
            If no block is selected.
        IndexError
            If the number is out of range.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> blocks = [og.block_from_array(np.ones((count, 2))) for count in (1, 3)]
        >>> map = og.TensorMap(og.Labels("center_type", [[1], [6]]), blocks)
        >>> [block.shape for block in map.blocks()]
        [(1, 2), (3, 2)]
        """
        numbers = select("blocks", self._keys, selection, keys)
        if len(numbers) == 0 and len(self) > 0:
            raise ValidationError(
                f"blocks({as_call(selection, keys)}): no block is selected; "
                f"the keys are {described(self._keys)}"
            )
        return [self.block_by_id(int(number)) for number in numbers]

    def block_by_id(self, index: SupportsIndex) -> TensorBlock:
        """Return a block by its number.

        Parameters
        ----------
        index : int
            Number of the block, from 0; negative numbers count from the end.

        Returns
        -------
        TensorBlock
            The block; its arrays are shared with the map.

        Raises
        ------
        IndexError
            If the number is out of range.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> blocks = [og.block_from_array(np.ones((count, 2))) for count in (1, 3)]
        >>> map = og.TensorMap(og.Labels("center_type", [[1], [6]]), blocks)
        >>> map.block_by_id(-1).shape
        (3, 2)
        """
        return TensorBlock._of(self._content, number_of("block_by_id", self._keys, index))

    def blocks_by_id(self, indices: Sequence[int]) -> list[TensorBlock]:
        """Return several blocks by their numbers.

        Parameters
        ----------
        indices : sequence of int
            Numbers of the blocks, from 0; negative numbers count from the end.

        Returns
        -------
        list of TensorBlock
            The blocks; their arrays are shared with the map.

        Raises
        ------
        IndexError
            If a number is out of range.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> blocks = [og.block_from_array(np.ones((count, 2))) for count in (1, 3)]
        >>> map = og.TensorMap(og.Labels("center_type", [[1], [6]]), blocks)
        >>> [block.shape for block in map.blocks_by_id([1, 0])]
        [(3, 2), (1, 2)]
        """
        return [self.block_by_id(index) for index in indices]

    def __getitem__(self, selection: Selection) -> TensorBlock:
        return self.block(selection)

    # ---- names ----
    @property
    def sample_names(self) -> list[str]:
        """Names of the sample dimensions of all blocks; [] for an empty map."""
        return self._content.metadata[0].samples.names if len(self) else []

    @property
    def component_names(self) -> list[str]:
        """Names of the components of all blocks; [] for an empty map."""
        return [c.names[0] for c in self._content.metadata[0].components] if len(self) else []

    @property
    def property_names(self) -> list[str]:
        """Names of the property dimensions of all blocks; [] for an empty map."""
        return self._content.metadata[0].properties.names if len(self) else []

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Dtype of all blocks; None for an empty map."""
        return self._content.dtype(0) if len(self) else None

    @property
    def device(self) -> str:
        """Always "cpu"."""
        return "cpu"

    @property
    def nbytes(self) -> int:
        """Size of all values and gradients, in bytes."""
        return self._content.nbytes

    @property
    def is_view(self) -> bool:
        """Always False."""
        return False

    # ---- texts ----
    def set_info(self, key: str, value: str) -> None:
        """Attach a text to the map; operations and archives keep it.

        Parameters
        ----------
        key, value : str
            Key and text. An existing text with this key is replaced.

        Raises
        ------
        TypeError
            If an argument is not a str.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((1, 2)))])
        >>> map.set_info("unit", "eV")
        >>> (2 * map).info()
        {'unit': 'eV'}
        """
        if not (isinstance(key, str) and isinstance(value, str)):
            raise TypeError(f"set_info({key!r}, {value!r}): key and value must be str")
        self._info[key] = value

    def get_info(self, key: str) -> str | None:
        """Return the text with this key.

        Parameters
        ----------
        key : str
            Key of the text.

        Returns
        -------
        str or None
            The text, or None if the key does not exist.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((1, 2)))])
        >>> map.set_info("unit", "eV")
        >>> map.get_info("unit")
        'eV'
        """
        return self.info().get(key)

    def info(self) -> dict[str, str]:
        """Return all texts attached to the map, except those that are still to be computed.

        Returns
        -------
        dict of str to str
            A copy; changing it does not change the map.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((1, 2)))])
        >>> map.set_info("unit", "eV")
        >>> map.info()
        {'unit': 'eV'}
        """
        return {key: text for key, text in self._info.items() if isinstance(text, str)}

    def _with_info(self, key: str, text: str | LazyText) -> TensorMap:
        return TensorMap._of(self._keys, self._content, {**self._info, key: text})

    # ---- copies ----
    def copy(self, deep: bool = True) -> TensorMap:
        """Return a copy with the same keys and ``info``; labels and lazy data are always shared.

        Parameters
        ----------
        deep : bool
            Copy the arrays, including those of gradients; otherwise they are shared.

        Returns
        -------
        TensorMap
            The copy.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((1, 2)))])
        >>> map.copy().block().values is map.block().values
        False
        """
        return TensorMap._of(self._keys, self._content.copied() if deep else self._content, self._info)

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
        """Convert to another dtype or to other arrays; data that need no conversion are shared.

        Parameters
        ----------
        *arguments : dtype, type or str
            A dtype, such as ``numpy.float32``, or a device. A str is taken as a device.
        dtype : dtype or str, optional
            Dtype of values and gradients.
        device : str, optional
            Only "cpu" is supported.
        arrays : {"numpy", "dask"}, optional
            ``"dask"`` converts to lazy chunks; ``"numpy"`` is valid only for data already in memory.
        non_blocking : bool
            Has no effect.

        Returns
        -------
        TensorMap
            Has the same labels and gradients.

        Raises
        ------
        ValueError
            If a device or a kind of arrays is not supported, or a dtype or device is given twice.
        TypeError
            If an argument is neither a dtype nor a device.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> block = og.block_from_array(np.ones((1, 2)))
        >>> og.TensorMap(og.Labels.single(), [block]).to(np.float32).dtype
        dtype('float32')
        """
        dtype, device = conversion(arguments, dtype, device)
        return TensorMap._of(self._keys, converted(self._content, dtype, device, arrays), self._info)

    def to_datatree(self) -> Any:
        """Return the map as a tree of xarray, with a node for each block.

        A node is called after its key, ``"center_type=6,neighbor_type=1"``, has the key in its attributes,
        and is what :meth:`TensorBlock.to_xarray` returns for the block. The root has the table of keys, and
        the info as attributes.

        Dask arrays stay Dask arrays and nothing is computed; labels of all blocks are read.
        :func:`outgrad.from_xarray` is the way back.

        Returns
        -------
        xarray.DataTree
            Its arrays are shared with this map.

        Raises
        ------
        ImportError
            If xarray is not installed.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> blocks = [og.block_from_array(np.full((2, 1), number)) for number in (1.0, 6.0)]
        >>> tree = og.TensorMap(og.Labels("center_type", [[1], [6]]), blocks).to_datatree()
        >>> list(tree.children)
        ['center_type=1', 'center_type=6']
        >>> tree["center_type=6/values"].to_numpy()
        array([[6.],
               [6.]])
        """
        return late("interop.xarray", "map_to_datatree")(self)

    # ---- dimensions that move ----
    def keys_to_properties(
        self,
        keys_to_move: str | Sequence[str] | Labels,
        *,
        fill_value: complex | float = 0.0,
        sort_samples: bool = True,
    ) -> Self:
        """Move key dimensions into the properties, merging the blocks that then share a key.

        See the function :func:`outgrad.keys_to_properties` for the formula.

        Parameters
        ----------
        keys_to_move : str, list of str or Labels
            Key dimensions to move, in the order in which they become property dimensions. Labels with
            entries also select and order the values that become properties.
        fill_value : number
            Value of entries for which a block lacks a sample or gradient row of another one.
        sort_samples : bool
            Sort the samples; otherwise they are in order of first appearance. Gradient rows are always
            sorted.

        Returns
        -------
        TensorMap
            One block per distinct value of the remaining key dimensions, in order of first appearance.

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
        >>> n = og.Labels.range("n", 1)
        >>> carbon = og.TensorBlock(np.array([[1.0]]), og.Labels("atom", [[2]]), [], n)
        >>> oxygen = og.TensorBlock(np.array([[3.0], [4.0]]), og.Labels("atom", [[0], [2]]), [], n)
        >>> map = og.TensorMap(og.Labels("neighbor_type", [[6], [8]]), [carbon, oxygen])
        >>> block = map.keys_to_properties("neighbor_type", fill_value=np.nan).block()
        >>> block.values
        array([[nan,  3.],
               [ 1.,  4.]])
        >>> print(block.properties)
        Labels(
            neighbor_type  n
                  6        0
                  8        0
        )
        """
        options = {"fill_value": fill_value, "sort_samples": sort_samples}
        result: Self = late("ops.keys", "keys_to_properties")(self, keys_to_move, **options)
        return result

    def keys_to_samples(
        self,
        keys_to_move: str | Sequence[str] | Labels,
        *,
        fill_value: complex | float = 0.0,
        sort_samples: bool = True,
    ) -> Self:
        """Move key dimensions into the samples, merging the blocks that then share a key.

        See the function :func:`outgrad.keys_to_samples` for the formula.

        Parameters
        ----------
        keys_to_move : str, list of str or Labels without entries
            Key dimensions to move, in the order in which they become sample dimensions.
        fill_value : number
            Value of entries for which a block lacks a property of another one.
        sort_samples : bool
            Sort the samples; otherwise those of the merged blocks are concatenated. Gradient rows are always
            sorted.

        Returns
        -------
        TensorMap
            One block per distinct value of the remaining key dimensions, in order of first appearance.

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
        >>> n = og.Labels.range("n", 1)
        >>> carbon = og.TensorBlock(np.array([[1.0]]), og.Labels("atom", [[2]]), [], n)
        >>> oxygen = og.TensorBlock(np.array([[3.0], [4.0]]), og.Labels("atom", [[0], [1]]), [], n)
        >>> map = og.TensorMap(og.Labels("center_type", [[6], [8]]), [carbon, oxygen])
        >>> block = map.keys_to_samples("center_type").block()
        >>> block.values
        array([[3.],
               [4.],
               [1.]])
        >>> print(block.samples)
        Labels(
            atom  center_type
             0         8
             1         8
             2         6
        )
        """
        options = {"fill_value": fill_value, "sort_samples": sort_samples}
        result: Self = late("ops.keys", "keys_to_samples")(self, keys_to_move, **options)
        return result

    def components_to_properties(self, dimensions: str | Sequence[str]) -> Self:
        """Move components into the properties.

        The function :func:`outgrad.components_to_properties` has the formula and takes blocks too.

        Parameters
        ----------
        dimensions : str or list of str
            Components to move. Each in turn becomes the first property dimension, so the last one ends up in
            front. Without names, nothing changes.

        Returns
        -------
        TensorMap
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
        >>> block = og.block_from_array(np.ones((4, 3, 2)), component_names=["xyz"])
        >>> map = og.TensorMap(og.Labels.single(), [block])
        >>> map.components_to_properties("xyz").block().properties.names
        ['xyz', 'property']
        """
        result: Self = late("ops.keys", "components_to_properties")(self, dimensions)
        return result

    # ---- chunks and Dask ----
    def chunk(self, target_bytes: int | str | None = None) -> TensorMap:
        """Split the map into lazy chunks of about ``target_bytes`` of values and gradients.

        A chunk holds samples of one block with all their gradient rows. If the samples are sorted by system,
        chunks end between systems where possible. Chunks of small blocks share a task.

        Parameters
        ----------
        target_bytes : int or str, optional
            Chunk size, e.g. ``"64 MiB"``. The default is the configuration value ``outgrad.chunk-bytes``.

        Returns
        -------
        TensorMap
            Has the same keys and labels, and Dask arrays as values.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> block = og.block_from_array(np.ones((4, 3)))
        >>> map = og.TensorMap(og.Labels.single(), [block]).chunk(target_bytes=48)
        >>> map.block().values.chunks
        ((2, 2), (3,))
        """
        return TensorMap._of(self._keys, self._content.rechunked(chunk_bytes(target_bytes)), self._info)

    def _lazy_blocks(self) -> LazyBlocks | None:
        return self._content.to_compute

    def _texts(self) -> Texts:
        return self._info

    def _rebuild(self, blocks: LazyBlocks, texts: Texts) -> TensorMap:
        return TensorMap._of(self._keys, Lazy(self._content.metadata, blocks), texts)

    def _finalize(self, parts: list[ChunkList], texts: dict[str, str]) -> TensorMap:
        return TensorMap._of(self._keys, self._content.computed(parts), {**self._info, **texts})

    def __dask_tokenize__(self) -> Any:
        return "outgrad.TensorMap", self._keys.digest, self._content.token(), sorted(self._info.items())

    # ---- print forms ----
    def print(self, max_keys: int = -1) -> str:
        """Return the number of blocks and the table of keys as text.

        Parameters
        ----------
        max_keys : int
            Largest number of keys to show; -1 shows all.

        Returns
        -------
        str
            The text.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> blocks = [og.block_from_array(np.ones((count, 2))) for count in (1, 3)]
        >>> map = og.TensorMap(og.Labels("center_type", [[1], [6]]), blocks)
        >>> print(map.print())
        TensorMap with 2 blocks
        keys: center_type
                   1
                   6
        """
        return show.map_text(self._keys, max_keys)

    def __str__(self) -> str:
        return self.print(show.MAX_KEYS)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return show.map_html(self._keys, self._content, self.info())

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorMap._of, (self._keys, self._content, self._info)
