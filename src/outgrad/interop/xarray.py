"""Blocks and maps to and from xarray (``pip install outgrad[xarray]``); docs/design/0011-xarray.md says why
they look as they do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad._foreign import kind_of
from outgrad.data.metadata import BlockMetadata
from outgrad.errors import ValidationError
from outgrad.interop.pandas import check_integers, labels_of
from outgrad.labels.labels import Labels
from outgrad.labels.sets import locate_rows
from outgrad.labels.types import Positions
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap
from outgrad.tree import GradientPath

SAMPLES, PROPERTIES, VALUES, KEYS = "samples", "properties", "values", "keys"
GRADIENT = "gradient."
"""How the names of variables that are gradients begin."""

ROW_OF = "row of "
"""How the name of a coordinate begins that numbers the samples, which ``sample`` of gradient rows refers to.

No other name has a space in it, whatever labels and gradients are called.
"""

PATH = "gradient"
"""The attribute of a gradient that has the parameters, which may be any text."""


# ---- to xarray ----
def block_to_xarray(block: TensorBlock) -> Any:
    """Return a block as a Dataset: see :meth:`outgrad.TensorBlock.to_xarray`."""
    axes = _Axes(_xarray("TensorBlock.to_xarray"))
    dimensions: dict[GradientPath, tuple[str, ...]] = {}
    variables: dict[str, Any] = {}
    for path, metadata in block._metadata.walk():
        above = dimensions[path[:-1]] if path else None
        own = dimensions[path] = axes.of_values(metadata) if above is None else axes.of(path, metadata, above)
        if metadata.gradients:
            axes.number(own[0], len(metadata.samples))
        name = axes.free(GRADIENT + _prefix(path), GRADIENT[:-1]) if path else VALUES
        values = reduce(TensorBlock.gradient, path, block).values
        variables[name] = (own, values, {PATH: list(path)} if path else {})
    return axes.data.assign(variables)


def map_to_datatree(map: TensorMap) -> Any:
    """Return a map as a DataTree: see :meth:`outgrad.TensorMap.to_datatree`."""
    xarray = _xarray("TensorMap.to_datatree")
    axes = _Axes(xarray)
    columns = {axes.free(name, KEYS): (KEYS, map.keys.column(name)) for name in map.keys.names}
    root = xarray.Dataset(coords=columns, attrs=map.info())
    nodes = {}
    for key, block in map.items():
        pairs = dict(zip(key.names, key.values.tolist(), strict=True))
        data = block_to_xarray(block).assign_attrs(pairs)
        nodes[",".join(f"{name}={value}" for name, value in pairs.items())] = xarray.DataTree(data)
    return xarray.DataTree(root, children=nodes)


class _Axes:
    """The dimensions and coordinates of a Dataset that is being made.

    All names in a Dataset differ. A name that is taken already gets a word in front: ``properties.n`` are the
    ``n`` of the properties. Names of labels have no dots, so that what stands after the last dot is the name.
    """

    def __init__(self, xarray: Any) -> None:
        self.xarray = xarray
        self.data = xarray.Dataset()
        self.taken = {VALUES, SAMPLES, PROPERTIES, KEYS}
        self.components: dict[str, Labels] = {}

    def free(self, name: str, word: str) -> str:
        """A name that nothing else has."""
        while name in self.taken:
            name = f"{word}.{name}"
        self.taken.add(name)
        return name

    def of_values(self, metadata: BlockMetadata) -> tuple[str, ...]:
        """Add the labels of a block; its dimensions."""
        middle = [self.component(own, own.names[0], "components") for own in metadata.components]
        for dimension, labels in ((SAMPLES, metadata.samples), (PROPERTIES, metadata.properties)):
            self.add(dimension, [self.free(name, dimension) for name in labels.names], labels)
        return (SAMPLES, *middle, PROPERTIES)

    def of(self, path: GradientPath, metadata: BlockMetadata, above: tuple[str, ...]) -> tuple[str, ...]:
        """Add the labels that a gradient has besides those of its parent; its dimensions."""
        prefix = _prefix(path)
        rows = self.free(f"{prefix}.{SAMPLES}", prefix)
        names = [self.free(f"{prefix}.{name}", prefix) for name in metadata.samples.names]
        self.add(rows, names, metadata.samples)
        own = metadata.components[: len(metadata.components) - len(above) + 2]
        return (rows, *(self.component(each, each.names[0], prefix) for each in own), *above[1:])

    def component(self, labels: Labels, name: str, word: str) -> str:
        """The dimension of a component; gradients with equal ones share it."""
        if self.components.get(name) == labels:
            return name
        dimension = self.free(name, word)
        self.components[dimension] = labels
        self.add(dimension, [dimension], labels)
        return dimension

    def add(self, dimension: str, names: Sequence[str], labels: Labels) -> None:
        """Add coordinates along a dimension, with one index for all of them."""
        columns = labels.read(0, len(labels)).T
        if len(names) > 1:
            import pandas

            index = pandas.MultiIndex.from_arrays(list(columns), names=list(names))
            made = self.xarray.Coordinates.from_pandas_multiindex(index, dimension)
            self.data = self.data.assign_coords(made)
        elif names:
            self.data = self.data.assign_coords({names[0]: (dimension, columns[0])})
            if names[0] != dimension:
                self.data = self.data.set_xindex(names[0])

    def number(self, dimension: str, count: int) -> None:
        """Number the samples, so that a selection of them can still be told from all."""
        numbers = np.arange(count, dtype=np.int32)
        self.data = self.data.assign_coords({ROW_OF + dimension: (dimension, numbers)})


def _prefix(path: GradientPath) -> str:
    """A gradient in names of variables and dimensions; parameters may be any text, even with a slash."""
    return re.sub(r"[^\w.]", "_", ".".join(path))


# ---- from xarray ----
def from_xarray(data: Any) -> Any:
    """Convert a DataArray or a Dataset of xarray to a block, a DataTree to a map; arrays are shared.

    What :meth:`TensorBlock.to_xarray` and :meth:`TensorMap.to_datatree` made is converted back: the same
    labels, values, gradients and info. If samples were selected or reordered in between, gradient rows
    follow their samples, and those of samples that are gone are left out.

    Any other array has at least two dimensions. The dimension ``samples`` becomes the samples, or else the
    first one does; ``properties`` becomes the properties, or else the last one; the others become components.
    All coordinates along one dimension become its labels: the levels of a MultiIndex, or coordinates of
    integers. Of a name with dots, the last part is used. A dimension without coordinates gets labels that
    count from 0 under its own name. Scalar coordinates are ignored, and so are attributes of blocks.

    A Dataset has the variable ``values`` and for each gradient a variable ``gradient.…``. A DataTree has a
    node for each block, called after its key, ``"center_type=6,neighbor_type=1"``; the attributes of its root
    become the info. A node that has ``values`` itself is a block.

    Dask arrays stay Dask arrays, and nothing is computed besides coordinates. xarray knows nothing of
    gradients: what it computes with ``values`` must be a selection of labels, or linear, or the gradients are
    wrong.

    Parameters
    ----------
    data : xarray.DataArray, xarray.Dataset or xarray.DataTree
        What to convert.

    Returns
    -------
    TensorBlock or TensorMap
        A map of a DataTree, otherwise a block.

    Raises
    ------
    ImportError
        If xarray is not installed.
    TypeError
        If ``data`` is none of these, or a coordinate is not of integers.
    ValidationError
        If there are other variables, too few dimensions, or a node is not called after a key.

    Examples
    --------
    >>> import numpy as np, outgrad as og, xarray
    >>> array = xarray.DataArray(np.ones((2, 3)), {"atom": [4, 7]}, dims=("atom", "n"))
    >>> block = og.from_xarray(array)
    >>> block.samples["atom"], block.properties["n"]
    (array([4, 7], dtype=int32), array([0, 1, 2], dtype=int32))
    """
    xarray = _xarray("from_xarray")
    if isinstance(data, xarray.DataArray):
        return _array_in(data, _dimensions("the array", data.dims))
    if isinstance(data, xarray.Dataset):
        return _dataset_in("the Dataset", data)
    if isinstance(data, xarray.DataTree):
        return _tree_in(data)
    raise TypeError(
        f"from_xarray: a DataArray, a Dataset or a DataTree of xarray is needed, got {kind_of(data)}"
    )


def _tree_in(tree: Any) -> Any:
    root = tree.to_dataset()
    if VALUES in root.data_vars:
        _check_leaf("the root", tree)
        return _dataset_in("the root", root)
    names: list[str] | None = None
    keys, blocks = [], []
    for name, node in tree.children.items():
        _check_leaf(f"the node {name!r}", node)
        pairs = [pair.partition("=") for pair in name.split(",")]
        own = [pair[0] for pair in pairs]
        names = own if names is None else names
        if own != names or not all(re.fullmatch(r"-?\d+", value) for _, _, value in pairs):
            raise ValidationError(
                f"from_xarray: the node {name!r} is not called after its key; name all nodes alike, such as "
                "'center_type=6,neighbor_type=1'"
            )
        keys.append([int(value) for _, _, value in pairs])
        blocks.append(_dataset_in(f"the node {name!r}", node.to_dataset()))
    if names is None:
        names = [_last(name) for name, column in root.coords.items() if column.dims == (KEYS,)]
    converted = TensorMap(Labels(names, np.array(keys, np.int64).reshape(len(keys), len(names))), blocks)
    for key, text in tree.attrs.items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise TypeError(
                f"from_xarray: the attribute {key!r} of the tree is {text!r}, but info are texts; convert it "
                "with str(…), or delete it"
            )
        converted.set_info(key, text)
    return converted


def _check_leaf(where: str, node: Any) -> None:
    if node.children:
        raise ValidationError(
            f"from_xarray: {where} is a block but has nodes below it, {list(node.children)}; "
            "a tree has one node for each block"
        )


class _Found(NamedTuple):
    """What a variable of a Dataset became."""

    dimensions: tuple[str, ...]
    block: TensorBlock
    numbers: Positions | None
    """Which rows these were when gradients were numbered; None if nobody knows."""


def _dataset_in(where: str, data: Any) -> TensorBlock:
    paths = _paths(where, data)
    cache: dict[str, Labels] = {}
    dimensions = _dimensions(f"'values' of {where}", data[VALUES].dims)
    block = _array_in(data[VALUES], dimensions, cache)
    found: dict[GradientPath, _Found] = {}
    found[()] = _Found(dimensions, block, _numbers(data, dimensions[0]))
    for path, name in sorted(paths.items(), key=lambda item: len(item[0])):
        if path[:-1] not in found:
            raise ValidationError(
                f"from_xarray: {name!r} of {where} is a gradient of a gradient that is not there; keep both, "
                "or leave out both"
            )
        found[path] = _gradient_in(where, data, name, found[path[:-1]], cache)
    # A block is complete before it becomes a gradient of another one.
    for path in sorted(paths, key=len, reverse=True):
        found[path[:-1]].block.add_gradient(path[-1], found[path].block)
    return block


def _paths(where: str, data: Any) -> dict[GradientPath, str]:
    """The gradients that a Dataset has, and the names of their variables."""
    if VALUES not in data.data_vars:
        raise ValidationError(
            f"from_xarray: {where} has no variable 'values', found {list(data.data_vars)}; rename one to "
            "'values', or convert one alone, dataset[name]"
        )
    paths = {}
    for name, variable in data.data_vars.items():
        if name != VALUES:
            if not str(name).startswith(GRADIENT):
                raise ValidationError(
                    f"from_xarray: {where} has a variable {name!r}, neither 'values' nor a gradient, "
                    f"'gradient.…'; leave it out with dataset.drop_vars({name!r})"
                )
            # Computing with xarray can lose attributes; the name says the same if no parameter has a dot.
            path = variable.attrs.get(PATH, name.removeprefix(GRADIENT).split("."))
            # A file of netCDF has one text where there was a list of one.
            paths[(path,) if isinstance(path, str) else tuple(path)] = name
    return paths


def _gradient_in(where: str, data: Any, name: str, parent: _Found, cache: dict[str, Labels]) -> _Found:
    array = data[name]
    shared = parent.dimensions[1:]
    own = [dimension for dimension in array.dims if dimension not in shared]
    if not own or len(own) + len(shared) != array.ndim:
        raise ValidationError(
            f"from_xarray: {name!r} of {where} has dimensions {array.dims}, but needs rows of its own and "
            f"{shared}, which its parent has; select and reduce both alike"
        )
    rows = next((each for each in own if str(each).endswith(f".{SAMPLES}")), own[0])
    own.remove(rows)
    dimensions = (rows, *own, *shared)
    numbers = _numbers(data, rows)
    samples = _labels(array, rows)
    if parent.numbers is None or samples.names[:1] != ["sample"]:
        return _Found(dimensions, _array_in(array, dimensions, cache), numbers)
    positions = _positions(where, parent.numbers, samples)
    kept = np.flatnonzero(positions >= 0)
    if len(kept) < len(positions):
        array = array.isel({rows: kept})
        numbers = None if numbers is None else numbers[kept]
    table = samples.values[kept]
    table[:, 0] = positions[kept]
    samples = Labels(samples.names, table, assume_unique=True)
    return _Found(dimensions, _array_in(array, dimensions, cache, samples), numbers)


def _positions(where: str, numbers: Positions, samples: Labels) -> Positions:
    """Where the sample of each gradient row is now; −1 if it is gone."""
    if len(np.unique(numbers)) < len(numbers):
        raise ValidationError(
            f"from_xarray: samples of {where} are there more than once, and gradient rows belong to one; "
            "convert before concatenating, and use outgrad.join"
        )
    rows = samples.values[:, :1]
    return locate_rows(numbers[:, None].astype(np.int32), np.ascontiguousarray(rows))


def _array_in(
    array: Any,
    dimensions: tuple[str, ...],
    cache: dict[str, Labels] | None = None,
    samples: Labels | None = None,
) -> TensorBlock:
    """The block of one array; ``cache`` has the labels that gradients share with their parents."""
    cache = {} if cache is None else cache
    for dimension in dimensions[1:]:
        if dimension not in cache:
            cache[dimension] = _labels(array, dimension)
    components = [cache[dimension] for dimension in dimensions[1:-1]]
    samples = _labels(array, dimensions[0]) if samples is None else samples
    return TensorBlock(array.transpose(*dimensions).data, samples, components, cache[dimensions[-1]])


def _dimensions(what: str, given: Sequence[Any]) -> tuple[str, ...]:
    """Samples, components and properties of an array, by name or by order."""
    if len(given) < 2:
        raise ValidationError(
            f"from_xarray: {what} needs at least two dimensions, samples and properties, found "
            f"{list(given)}; add one with .expand_dims(…)"
        )
    rest = list(given)
    samples = SAMPLES if SAMPLES in rest else next(each for each in rest if each != PROPERTIES)
    rest.remove(samples)
    properties = PROPERTIES if PROPERTIES in rest else rest[-1]
    rest.remove(properties)
    return (samples, *rest, properties)


def _labels(array: Any, dimension: str) -> Labels:
    """The labels of a dimension: what its coordinates say, or numbers from 0."""
    along = {
        str(name): coordinate
        for name, coordinate in array.coords.items()
        if dimension in coordinate.dims and not str(name).startswith(ROW_OF)
    }
    levels = _levels(array, dimension)
    if levels:
        along = {name: along[name] for name in [*levels, *along] if name != dimension}
    columns: dict[str, npt.NDArray[Any]] = {}
    for name, coordinate in along.items():
        what, drop = f"from_xarray: the coordinate {name!r}", f"leave it out with .drop_vars({name!r})"
        if coordinate.dims != (dimension,):
            raise ValidationError(
                f"{what} is along {coordinate.dims}, but labels are along one dimension; {drop}"
            )
        if _last(name) in columns:
            raise ValidationError(
                f"{what} would be a second label {_last(name)!r} of {dimension!r}; rename it, or {drop}"
            )
        check_integers(what, coordinate.values, f"convert it to integers, or {drop}")
        columns[_last(name)] = coordinate.values
    count = array.sizes[dimension]
    if not columns:  # labels without names have no entries
        return Labels.range(_last(dimension), count) if count else Labels.empty(())
    return labels_of(columns, count)


def _levels(array: Any, dimension: str) -> list[str]:
    """The levels of the MultiIndex of a dimension, in their order; [] if it has none."""
    import pandas

    index = array.xindexes.get(dimension)
    levels = getattr(index, "index", None)
    return list(levels.names) if isinstance(levels, pandas.MultiIndex) else []


def _numbers(data: Any, dimension: str) -> Positions | None:
    """The number that each row had when it was converted to xarray, however its dimension is called now."""
    for name, coordinate in data.coords.items():
        if str(name).startswith(ROW_OF) and coordinate.dims == (dimension,):
            return np.asarray(coordinate.values, np.int64)
    return None


def _last(name: str) -> str:
    """The name of a label without the words that tell it from others."""
    return name.rpartition(".")[2]


def _xarray(call: str) -> Any:
    try:
        import xarray
    except ImportError:
        raise ImportError(
            f"{call}: xarray is not installed; install it with: pip install 'outgrad[xarray]'"
        ) from None
    return xarray
