"""One block: values, their labels, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self, final

import numpy as np

from outgrad._foreign import kind_of
from outgrad.config import chunk_bytes
from outgrad.data.chunk import ChunkList
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.attach.blocks import attach_gradient
from outgrad.engine.content import Blocks, Lazy, single
from outgrad.engine.convert import conversion, converted
from outgrad.errors import ValidationError
from outgrad.graph.collection import LazyCollection, Texts
from outgrad.graph.lazy_blocks import LazyBlocks
from outgrad.labels.labels import Labels
from outgrad.labels.saving import Saving
from outgrad.late import late
from outgrad.tensor import check, show
from outgrad.tensor.given import given_block
from outgrad.tensor.operators import Operators


@final
class TensorBlock(Operators, Saving, LazyCollection):
    """Values with labels on every axis, and gradients with respect to any parameters.

    ``values`` are (S, *C, P): samples, components, properties. Row r of a gradient (R, *K, *C, P) is the
    derivative of the values row given by its label ``sample``; a row that is missing is zero.

    A block of NumPy arrays computes at once. A block of Dask arrays is lazy and a Dask collection: it has
    ``compute``, ``persist`` and ``visualize``.

    Parameters
    ----------
    values : (S, *C, P) NumPy or Dask array
        Kept as it is, not copied, if it is a plain array in native byte order. Of a Dask array only the
        samples stay chunked.
    samples : Labels
        S entries.
    components : sequence of Labels
        One for each middle axis, each with one dimension.
    properties : Labels
        P entries.

    Raises
    ------
    ValidationError
        If the labels do not describe the axes of the values, or values are masked or have units.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.TensorBlock(
    ...     values=np.array([[1.0, 2.0]]),
    ...     samples=og.Labels(["system", "atom"], [[0, 4]]),
    ...     components=[],
    ...     properties=og.Labels.range("n", 2),
    ... )
    >>> print(block)
    TensorBlock
        samples (1): ['system', 'atom']
        components (): []
        properties (2): ['n']
        gradients: None
    """

    _kind = "block"

    _source: Blocks
    _number: int
    _path: tuple[str, ...]
    _given: Any
    """The Dask array of the values, as long as the block is nothing else."""

    def __init__(
        self, values: Any, samples: Labels, components: Sequence[Labels], properties: Labels
    ) -> None:
        blocks, given = given_block(values, samples, components, properties)
        self._set(blocks, given=given)

    def _set(self, source: Blocks, number: int = 0, path: tuple[str, ...] = (), given: Any = None) -> None:
        self._source, self._number, self._path, self._given = source, number, path, given

    @classmethod
    def _of(cls, source: Blocks, number: int = 0, path: tuple[str, ...] = ()) -> Self:
        block = cls.__new__(cls)
        block._set(source, number, path)
        return block

    @property
    def _metadata(self) -> BlockMetadata:
        return self._source.metadata[self._number].at(self._path)

    def _blocks(self) -> Blocks:
        """This block alone, as operations take it."""
        return single(self._source, self._number, self._path)

    def _in_map(self, keys: Labels, number: int) -> tuple[Blocks, int, tuple[str, ...]]:
        """Where the content is; errors of its chunks name the block by its key."""
        if self._given is None:
            return self._source, self._number, self._path
        named = f"block {number} {keys.entry(number).print()}"
        data = late("graph.dask_arrays", "from_dask")(self._given, named)
        return Lazy((self._metadata,), data), 0, ()

    # ---- data and labels ----
    @property
    def values(self) -> Any:
        """The (S, *C, P) array: NumPy, or a Dask array chunked along the samples."""
        return self._source.array(self._number, self._path)

    @values.setter
    def values(self, values: Any) -> None:
        raise AttributeError(
            "the values of a block cannot be exchanged; write into the array with block.values[:] = …, "
            "or make a new TensorBlock"
        )

    @property
    def samples(self) -> Labels:
        """Labels of the rows."""
        return self._metadata.samples

    @property
    def components(self) -> list[Labels]:
        """Labels of the middle axes, one each."""
        return list(self._metadata.components)

    @property
    def properties(self) -> Labels:
        """Labels of the last axis."""
        return self._metadata.properties

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values; needs no computation."""
        return self._metadata.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of values and gradients."""
        return self._source.dtype(self._number)

    @property
    def device(self) -> str:
        """Always "cpu"."""
        return "cpu"

    @property
    def nbytes(self) -> int:
        """Bytes of values and gradients together."""
        rows = sum(int(np.prod(metadata.shape)) for _, metadata in self._metadata.walk())
        return rows * self.dtype.itemsize

    @property
    def is_view(self) -> bool:
        """Whether this is a gradient that was read out of its block."""
        return bool(self._path)

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Rows of each chunk of the values; None for a block in memory."""
        outline = self._source.outline(self._number)
        return None if outline is None else outline.at(self._path).chunk_rows

    def __len__(self) -> int:
        return len(self.samples)

    # ---- gradients ----
    def gradients_list(self) -> list[str]:
        """Return the parameters that have a gradient, in the order in which they were added.

        Returns
        -------
        list of str
            Their names.
        """
        return list(self._metadata.gradients)

    def has_gradient(self, parameter: str) -> bool:
        """Tell whether there is a gradient with respect to ``parameter``.

        Parameters
        ----------
        parameter : str
            Name of the gradient.

        Returns
        -------
        bool
            True if there is one.
        """
        return parameter in self._metadata.gradients

    def gradient(self, parameter: str) -> TensorBlock:
        """Return the gradient with respect to ``parameter``, as a block of its own.

        Parameters
        ----------
        parameter : str
            Name of the gradient.

        Returns
        -------
        TensorBlock
            Values (R, *K, *C, P), sharing the arrays of this block.

        Raises
        ------
        ValidationError
            If there is no such gradient.
        """
        if not self.has_gradient(parameter):
            raise ValidationError(
                f"gradient({parameter!r}): the block has no such gradient; it has {self.gradients_list()}"
            )
        return TensorBlock._of(self._source, self._number, (*self._path, parameter))

    def gradients(self) -> Iterator[tuple[str, TensorBlock]]:
        """Yield ``(parameter, gradient)`` for every gradient.

        Yields
        ------
        (str, TensorBlock)
            Name and gradient, in the order in which they were added.
        """
        for parameter in self.gradients_list():
            yield parameter, self.gradient(parameter)

    def add_gradient(self, parameter: str, gradient: TensorBlock) -> None:
        """Add a gradient to this block; ``gradient`` is not consumed and can be used again.

        Its first sample dimension is ``sample``, the row of the values; its last components and its
        properties are those of the values. Its own gradients are kept.

        Parameters
        ----------
        parameter : str
            Name of the parameter with respect to which the values are differentiated.
        gradient : TensorBlock
            Values (R, *K, *C, P).

        Raises
        ------
        ValidationError
            If there is such a gradient already, or the labels do not fit those of the values.
        TypeError
            If ``gradient`` is no block.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> n = og.Labels.range("n", 2)
        >>> block = og.TensorBlock(np.array([[1.0, 2.0]]), og.Labels.range("atom", 1), [], n)
        >>> rows = og.Labels(["sample", "atom"], [[0, 0], [0, 1]])
        >>> block.add_gradient("positions", og.TensorBlock(np.ones((2, 2)), rows, [], n))
        >>> block.gradient("positions").samples["atom"]
        array([0, 1], dtype=int32)
        """
        if not isinstance(gradient, TensorBlock):
            raise TypeError(
                f"add_gradient({parameter!r}): the gradient must be a TensorBlock, got {kind_of(gradient)}"
            )
        check.gradient(parameter, self._metadata, gradient._metadata, self.dtype, gradient.dtype)
        self._set(attach_gradient(self._blocks(), parameter, gradient._blocks()))

    # ---- copies ----
    def copy(self, deep: bool = True) -> TensorBlock:
        """Return a copy. Labels and lazy data never change, and are shared in any case.

        Parameters
        ----------
        deep : bool
            Copy the arrays, of gradients too; otherwise they are shared.

        Returns
        -------
        TensorBlock
            The copy.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> block = og.block_from_array(np.ones((1, 2)))
        >>> block.copy().values is block.values, block.copy(deep=False).values is block.values
        (False, True)
        """
        return TensorBlock._of(self._blocks().copied() if deep else self._blocks())

    def __copy__(self) -> TensorBlock:
        return self.copy(deep=False)

    def __deepcopy__(self, memo: Any) -> TensorBlock:
        return self.copy()

    def to(
        self,
        *arguments: Any,
        dtype: Any = None,
        device: str | None = None,
        arrays: str | None = None,
        non_blocking: bool = False,
    ) -> TensorBlock:
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
        TensorBlock
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
        >>> block.to(np.float32).dtype
        dtype('float32')
        """
        dtype, device = conversion(arguments, dtype, device)
        return TensorBlock._of(converted(self._blocks(), dtype, device, arrays))

    # ---- chunks and Dask ----
    def chunk(self, target_bytes: int | str | None = None) -> TensorBlock:
        """Return the block as lazy chunks of about ``target_bytes`` of values and gradients.

        Chunks hold whole samples with all their gradient rows, and whole systems where the samples are
        sorted by system.

        Parameters
        ----------
        target_bytes : int or str, optional
            Such as ``"64 MiB"``; the default is the configuration ``outgrad.chunk-bytes``.

        Returns
        -------
        TensorBlock
            The same labels, with Dask arrays as values.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> og.block_from_array(np.ones((4, 3))).chunk(target_bytes=48).chunks
        (2, 2)
        """
        return TensorBlock._of(self._blocks().rechunked(chunk_bytes(target_bytes)))

    def _lazy_blocks(self) -> LazyBlocks | None:
        return self._blocks().to_compute

    def _rebuild(self, blocks: LazyBlocks, texts: Texts) -> TensorBlock:
        return TensorBlock._of(Lazy((self._metadata,), blocks))

    def _finalize(self, parts: list[ChunkList], texts: dict[str, str]) -> TensorBlock:
        return TensorBlock._of(self._blocks().computed(parts))

    def __dask_tokenize__(self) -> Any:
        return "outgrad.TensorBlock", self._blocks().token()

    # ---- print forms ----
    def __str__(self) -> str:
        return show.block_text(self._metadata, self._path)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return show.block_html(self._metadata, self._path, self.nbytes, self.dtype, self.chunks)

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorBlock._of, (self._blocks(),)
