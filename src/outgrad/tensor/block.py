"""One block: values with labels, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self, final

import numpy as np

from outgrad._foreign import is_dask_array, kind_of
from outgrad.config import chunk_bytes
from outgrad.data.chunk import Chunk, ChunkList
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.attach.blocks import attach_gradient
from outgrad.engine.content import Blocks, InMemory, Lazy, single
from outgrad.engine.convert import conversion, converted
from outgrad.errors import ValidationError
from outgrad.graph.collection import LazyCollection, Texts
from outgrad.graph.lazy_blocks import LazyBlocks
from outgrad.labels.labels import Labels
from outgrad.labels.saving import Saving
from outgrad.late import late
from outgrad.tensor import check, show
from outgrad.tensor.operators import Operators


@final
class TensorBlock(Operators, Saving, LazyCollection):
    """Values with labels on every axis, and gradients with respect to any parameters.

    ``values`` have the shape (S, *C, P): samples, components, properties. Row r of a gradient (R, *K, *C, P)
    is the derivative of one row of the values, given by the label ``sample`` of row r. Missing rows are zero.

    Operations on a block of NumPy arrays run immediately. A block of Dask arrays is lazy and a Dask
    collection, with ``compute``, ``persist`` and ``visualize``.

    Parameters
    ----------
    values : (S, *C, P) NumPy or Dask array
        Shared, not copied, if it is a plain array in native byte order. A Dask array is rechunked, so that
        only the samples are chunked.
    samples : Labels
        S entries.
    components : sequence of Labels
        One per middle axis, each with one dimension.
    properties : Labels
        P entries.

    Raises
    ------
    ValidationError
        If the labels do not match the shape of the values, or the values are masked or have units.
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
    _dask_values: Any
    """The Dask array of the values, as long as the block is nothing else."""

    def __init__(
        self, values: Any, samples: Labels, components: Sequence[Labels], properties: Labels
    ) -> None:
        values = check.array(values)
        check.labels_argument("samples", samples)
        check.labels_argument("properties", properties)
        components = tuple(components)
        check.components(components)
        metadata = BlockMetadata(samples, components, properties)
        check.axes(values.shape, metadata)
        if is_dask_array(values):
            data = late("graph.dask_arrays", "from_dask")(values, show.named(metadata))
            self._set(Lazy((metadata,), data), dask_values=values)
        else:
            self._set(InMemory((metadata,), (Chunk(values),)))

    def _set(
        self, source: Blocks, number: int = 0, path: tuple[str, ...] = (), dask_values: Any = None
    ) -> None:
        self._source, self._number, self._path, self._dask_values = source, number, path, dask_values

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
        if self._dask_values is None:
            return self._source, self._number, self._path
        named = f"block {number} {keys.entry(number).print()}"
        data = late("graph.dask_arrays", "from_dask")(self._dask_values, named)
        return Lazy((self._metadata,), data), 0, ()

    # ---- data and labels ----
    @property
    def values(self) -> Any:
        """The (S, *C, P) array: a NumPy array, or a Dask array chunked along the samples."""
        return self._source.array(self._number, self._path)

    @values.setter
    def values(self, values: Any) -> None:
        raise AttributeError(
            "the values of a block cannot be replaced; write into the array with block.values[:] = …, "
            "or make a new TensorBlock"
        )

    @property
    def samples(self) -> Labels:
        """Labels of the first axis."""
        return self._metadata.samples

    @property
    def components(self) -> list[Labels]:
        """Labels of the middle axes, one per axis."""
        return list(self._metadata.components)

    @property
    def properties(self) -> Labels:
        """Labels of the last axis."""
        return self._metadata.properties

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values, known without computing them."""
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
        """Size of values and gradients together, in bytes."""
        rows = sum(int(np.prod(metadata.shape)) for _, metadata in self._metadata.walk())
        return rows * self.dtype.itemsize

    @property
    def is_view(self) -> bool:
        """Whether this is a gradient taken from its block."""
        return bool(self._path)

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Number of rows in each chunk of the values; None for a block in memory."""
        outline = self._source.outline(self._number)
        return None if outline is None else outline.at(self._path).chunk_rows

    def __len__(self) -> int:
        return len(self.samples)

    # ---- gradients ----
    def gradients_list(self) -> list[str]:
        """Return the names of the gradients, in the order in which they were added.

        Returns
        -------
        list of str
            The parameters with respect to which the block has gradients.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> n = og.Labels.range("n", 2)
        >>> block = og.TensorBlock(np.array([[1.0, 2.0]]), og.Labels.range("atom", 1), [], n)
        >>> rows = og.Labels(["sample", "atom"], [[0, 0], [0, 1]])
        >>> block.add_gradient("positions", og.TensorBlock(np.ones((2, 2)), rows, [], n))
        >>> block.gradients_list()
        ['positions']
        """
        return list(self._metadata.gradients)

    def has_gradient(self, parameter: str) -> bool:
        """Check whether the block has a gradient with respect to ``parameter``.

        Parameters
        ----------
        parameter : str
            Name of the gradient.

        Returns
        -------
        bool
            True if the gradient exists.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> og.block_from_array(np.ones((1, 2))).has_gradient("positions")
        False
        """
        return parameter in self._metadata.gradients

    def gradient(self, parameter: str) -> TensorBlock:
        """Return the gradient with respect to ``parameter`` as a block.

        Parameters
        ----------
        parameter : str
            Name of the gradient.

        Returns
        -------
        TensorBlock
            Values (R, *K, *C, P); its arrays are shared with this block.

        Raises
        ------
        ValidationError
            If the gradient does not exist.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> n = og.Labels.range("n", 2)
        >>> block = og.TensorBlock(np.array([[1.0, 2.0]]), og.Labels.range("atom", 1), [], n)
        >>> rows = og.Labels(["sample", "atom"], [[0, 0], [0, 1]])
        >>> block.add_gradient("positions", og.TensorBlock(np.ones((2, 2)), rows, [], n))
        >>> block.gradient("positions").shape
        (2, 2)
        """
        if not self.has_gradient(parameter):
            raise ValidationError(
                f"gradient({parameter!r}): gradient not found; the block has {self.gradients_list()}"
            )
        return TensorBlock._of(self._source, self._number, (*self._path, parameter))

    def gradients(self) -> Iterator[tuple[str, TensorBlock]]:
        """Iterate over the gradients.

        Yields
        ------
        (str, TensorBlock)
            Parameter and gradient, in the order in which they were added.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> n = og.Labels.range("n", 2)
        >>> block = og.TensorBlock(np.array([[1.0, 2.0]]), og.Labels.range("atom", 1), [], n)
        >>> rows = og.Labels(["sample", "atom"], [[0, 0], [0, 1]])
        >>> block.add_gradient("positions", og.TensorBlock(np.ones((2, 2)), rows, [], n))
        >>> [(parameter, gradient.shape) for parameter, gradient in block.gradients()]
        [('positions', (2, 2))]
        """
        for parameter in self.gradients_list():
            yield parameter, self.gradient(parameter)

    def add_gradient(self, parameter: str, gradient: TensorBlock) -> None:
        """Add a gradient to this block; ``gradient`` itself can be used again.

        The first sample dimension of the gradient must be ``sample``, the row of the values. Its last
        components and its properties must be those of the values. Gradients of the gradient are kept.

        Parameters
        ----------
        parameter : str
            Parameter with respect to which the values are differentiated.
        gradient : TensorBlock
            Values (R, *K, *C, P).

        Raises
        ------
        ValidationError
            If the gradient already exists, or its labels do not match those of the values.
        TypeError
            If ``gradient`` is not a block.

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
        check.gradient_fits(parameter, self._metadata, gradient._metadata, self.dtype, gradient.dtype)
        self._set(attach_gradient(self._blocks(), parameter, gradient._blocks()))

    # ---- copies ----
    def copy(self, deep: bool = True) -> TensorBlock:
        """Return a copy; labels and lazy data are immutable and always shared.

        Parameters
        ----------
        deep : bool
            Copy the arrays, including those of gradients; otherwise they are shared.

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
        TensorBlock
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
        >>> block.to(np.float32).dtype
        dtype('float32')
        """
        dtype, device = conversion(arguments, dtype, device)
        return TensorBlock._of(converted(self._blocks(), dtype, device, arrays))

    def to_xarray(self) -> Any:
        """Return values, labels and gradients as a Dataset of xarray.

        The variable ``values`` has the dimensions ``samples``, the names of the components, and
        ``properties``; ``gradient.positions`` is a gradient, with the dimension ``positions.samples`` and its
        own components before those of the values. Labels become coordinates: several dimensions the levels of
        a MultiIndex, and those of gradient rows are called ``positions.sample``, ``positions.atom``, … Where
        two names are the same, one gets the name of its axis in front: ``properties.n``. The coordinate
        ``row-of-samples`` of a block with gradients says which sample ``positions.sample`` refers to.

        Dask arrays stay Dask arrays and nothing is computed. All labels of the block are read, those of
        gradients too, since an index of pandas is in memory. :func:`outgrad.from_xarray` is the way back.

        Returns
        -------
        xarray.Dataset
            Its arrays are shared with this block.

        Raises
        ------
        ImportError
            If xarray is not installed.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> samples = og.Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
        >>> block = og.TensorBlock(np.eye(3), samples, [], og.Labels.range("n", 3))
        >>> data = block.to_xarray()
        >>> data["values"].dims
        ('samples', 'properties')
        >>> data.isel(samples=data["system"] == 0).sel(n=1)["values"].to_numpy()
        array([0., 1.])
        """
        return late("interop.xarray", "block_to_xarray")(self)

    # ---- chunks and Dask ----
    def chunk(self, target_bytes: int | str | None = None) -> TensorBlock:
        """Split the block into lazy chunks of about ``target_bytes`` of values and gradients.

        A chunk holds samples with all their gradient rows. If the samples are sorted by system, chunks end
        between systems where possible.

        Parameters
        ----------
        target_bytes : int or str, optional
            Chunk size, e.g. ``"64 MiB"``. The default is the configuration value ``outgrad.chunk-bytes``.

        Returns
        -------
        TensorBlock
            Has the same labels, and Dask arrays as values.

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
