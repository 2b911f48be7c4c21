"""Blocks and maps to and from xarray (``pip install outgrad[xarray]``); docs/design/0011-xarray.md says why
they look as they do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad._foreign import is_dask_array, kind_of
from outgrad.data.metadata import BlockMetadata
from outgrad.errors import ValidationError
from outgrad.interop.pandas import check_integers, labels_of_columns
from outgrad.labels.labels import Labels
from outgrad.labels.sets import locate_rows
from outgrad.labels.types import Positions
from outgrad.late import late
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap
from outgrad.tree import GradientPath

SAMPLES, PROPERTIES, VALUES, KEYS = "samples", "properties", "values", "keys"
GRADIENT = "gradient."
"""How the names of variables that are gradients begin."""

ROW_OF = "row-of-"
"""How the name of a coordinate begins that numbers the samples, which ``sample`` of gradient rows refers to.

No other name has a hyphen, whatever labels and gradients are called; a space could not be written to files.
"""

PARAMETERS = "gradient"
"""The attribute of a gradient that has the parameters, which may be any text."""


# ---- to xarray ----
def block_to_xarray(block: TensorBlock) -> Any:
    """Return a block as a Dataset: see :meth:`outgrad.TensorBlock.to_xarray`."""
    axes = _NewCoordinates(_xarray("TensorBlock.to_xarray"))
    dimensions: dict[GradientPath, tuple[str, ...]] = {}
    variables: dict[str, Any] = {}
    for path, metadata in block._metadata.walk():
        above = dimensions[path[:-1]] if path else None
        own = dimensions[path] = axes.of_values(metadata) if above is None else axes.of(path, metadata, above)
        if metadata.gradients:
            axes.number(own[0], len(metadata.samples))
        name = axes.free(GRADIENT + _prefix(path), GRADIENT[:-1]) if path else VALUES
        values = reduce(TensorBlock.gradient, path, block).values
        variables[name] = (own, values, {PARAMETERS: list(path)} if path else {})
    return axes.dataset(variables)


def map_to_datatree(map: TensorMap) -> Any:
    """Return a map as a DataTree: see :meth:`outgrad.TensorMap.to_datatree`."""
    xarray = _xarray("TensorMap.to_datatree")
    axes = _NewCoordinates(xarray)
    columns = {axes.free(name, KEYS): (KEYS, map.keys.column(name)) for name in map.keys.names}
    root = xarray.Dataset(coords=columns, attrs=map.info())
    nodes = {}
    for key, block in map.items():
        pairs = dict(zip(key.names, key.values.tolist(), strict=True))
        data = block_to_xarray(block).assign_attrs(pairs)
        nodes[",".join(f"{name}={value}" for name, value in pairs.items())] = xarray.DataTree(data)
    return xarray.DataTree(root, children=nodes)


class _NewCoordinates:
    """The dimensions and coordinates of a Dataset that is being made.

    All names in a Dataset differ. A name that is taken already gets a word in front: ``properties.n`` are the
    ``n`` of the properties. Names of labels have no dots, so that what stands after the last dot is the name.
    """

    def __init__(self, xarray: Any) -> None:
        self.xarray = xarray
        self.taken = {VALUES, SAMPLES, PROPERTIES, KEYS}
        self.components: dict[str, Labels] = {}
        self.coordinates: dict[str, Any] = {}
        self.indexes: dict[str, Any] = {}

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
        from pandas import Index, MultiIndex
        from xarray.indexes import PandasIndex, PandasMultiIndex

        columns = labels.read(0, len(labels)).T  # stored labels are not kept: pandas has them now
        if not names:
            return
        if len(names) == 1:
            made = PandasIndex(Index(columns[0], name=names[0]), dimension)
        else:
            made = PandasMultiIndex(MultiIndex.from_arrays(list(columns), names=names), dimension)
        coordinates = made.create_variables()
        self.coordinates.update(coordinates)
        self.indexes.update(dict.fromkeys(coordinates, made))

    def number(self, dimension: str, count: int) -> None:
        """Number the samples, so that a selection of them can still be told from all."""
        self.coordinates[ROW_OF + dimension] = (dimension, np.arange(count, dtype=np.int32))

    def dataset(self, variables: dict[str, Any]) -> Any:
        """The Dataset of these variables; all at once, as each change of a Dataset takes milliseconds."""
        coordinates = self.xarray.Coordinates(self.coordinates, indexes=self.indexes)
        return self.xarray.Dataset(variables, coords=coordinates)


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
        return _block(data.variable, _dimensions("the array", data.dims), _Coordinates(data))
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
        names = [_last(name) for name, column in root.coords.variables.items() if column.dims == (KEYS,)]
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
    if VALUES not in data.data_vars:
        raise ValidationError(
            f"from_xarray: {where} has no variable 'values', found {list(data.data_vars)}; rename one to "
            "'values', or convert one alone, dataset[name]"
        )
    paths: dict[GradientPath, str] = {}
    for name, variable in data.data_vars.items():
        if name != VALUES:
            if not str(name).startswith(GRADIENT):
                raise ValidationError(
                    f"from_xarray: {where} has a variable {name!r}, neither 'values' nor a gradient, "
                    f"'gradient.…'; leave it out with dataset.drop_vars({name!r})"
                )
            # Computing with xarray can lose attributes; the name says the same if no parameter has a dot.
            path = variable.attrs.get(PARAMETERS, name.removeprefix(GRADIENT).split("."))
            # A file of netCDF has one text where there was a list of one.
            paths[(path,) if isinstance(path, str) else tuple(path)] = name
    coordinates = _Coordinates(data)
    values = data.variables[VALUES]
    dimensions = _dimensions(f"'values' of {where}", values.dims)
    block = _block(values, dimensions, coordinates)
    found: dict[GradientPath, _Found] = {(): _Found(dimensions, block, coordinates.numbers(dimensions[0]))}
    for path, name in sorted(paths.items(), key=lambda item: len(item[0])):
        if path[:-1] not in found:
            raise ValidationError(
                f"from_xarray: {name!r} of {where} is a gradient of a gradient that is not there; keep both, "
                "or leave out both"
            )
        variable, parent = data.variables[name], found[path[:-1]]
        found[path] = _gradient_in(where, f"{name!r} of {where}", variable, parent, coordinates)
    # A block is complete before it becomes a gradient of another one.
    for path in sorted(paths, key=len, reverse=True):
        found[path[:-1]].block.add_gradient(path[-1], found[path].block)
    return block


def _gradient_in(where: str, what: str, variable: Any, parent: _Found, coordinates: _Coordinates) -> _Found:
    shared = parent.dimensions[1:]
    own = [dimension for dimension in variable.dims if dimension not in shared]
    if not own or len(own) + len(shared) != variable.ndim:
        raise ValidationError(
            f"from_xarray: {what} has dimensions {variable.dims}, but needs rows of its own and {shared}, "
            "which its parent has; select and reduce both alike"
        )
    rows = next((each for each in own if str(each).endswith(f".{SAMPLES}")), own[0])
    own.remove(rows)
    dimensions = (rows, *own, *shared)
    numbers = coordinates.numbers(rows)
    samples = coordinates.labels(rows)
    if parent.numbers is not None and samples.names[:1] == ["sample"]:
        if len(np.unique(parent.numbers)) < len(parent.numbers):
            raise ValidationError(
                f"from_xarray: samples of {where} are there more than once, and gradient rows belong to one; "
                "convert before concatenating, and use outgrad.join"
            )
        # Where the sample of each gradient row is now; −1 if it is gone.
        stored = np.ascontiguousarray(samples.values[:, :1])
        positions = locate_rows(parent.numbers[:, None].astype(np.int32), stored)
        kept = np.flatnonzero(positions >= 0)
        if len(kept) < len(positions):
            variable = variable.transpose(*dimensions)
            if is_dask_array(variable.data):
                whole = late("graph.dask_arrays", "without_empty_chunks")(variable.data)
                variable = variable.copy(data=whole)
            variable = variable.isel({rows: kept})
            numbers = None if numbers is None else numbers[kept]
        table = samples.values[kept]
        table[:, 0] = positions[kept]
        samples = Labels(samples.names, table, assume_unique=True)
    return _Found(dimensions, _block(variable, dimensions, coordinates, samples), numbers)


def _block(
    variable: Any, dimensions: tuple[str, ...], coordinates: _Coordinates, samples: Labels | None = None
) -> TensorBlock:
    labels = [coordinates.labels(dimension) for dimension in dimensions[1:]]
    samples = coordinates.labels(dimensions[0]) if samples is None else samples
    return TensorBlock(variable.transpose(*dimensions).data, samples, labels[:-1], labels[-1])


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


class _Coordinates:
    """The coordinates of a Dataset or a DataArray, and what they are as labels."""

    def __init__(self, data: Any) -> None:
        self.sizes, self.indexes = data.sizes, data.xindexes
        self.along: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for name, coordinate in data.coords.variables.items():
            for dimension in coordinate.dims:
                self.along[dimension][str(name)] = coordinate
        self.made: dict[str, Labels] = {}

    def labels(self, dimension: str) -> Labels:
        """The labels of a dimension: what its coordinates say, or numbers from 0."""
        if dimension in self.made:
            return self.made[dimension]
        columns: dict[str, npt.NDArray[Any]] = {}
        for name in self._names(dimension):
            coordinate, last = self.along[dimension][name], _last(name)
            what, drop = f"from_xarray: the coordinate {name!r}", f"leave it out with .drop_vars({name!r})"
            if coordinate.dims != (dimension,):
                raise ValidationError(
                    f"{what} is along {coordinate.dims}, but labels are along one dimension; {drop}"
                )
            if last in columns:
                raise ValidationError(
                    f"{what} would be a second label {last!r} of {dimension!r}; rename it, or {drop}"
                )
            columns[last] = coordinate.values
            check_integers(what, columns[last], f"convert it to integers, or {drop}")
        count = self.sizes[dimension]
        if columns:
            made = labels_of_columns(columns, count)
        else:  # labels without names have no entries
            made = Labels.range(_last(dimension), count) if count else Labels.empty(())
        self.made[dimension] = made
        return made

    def _names(self, dimension: str) -> list[str]:
        """Coordinates that are labels: the levels of a MultiIndex, and then all others."""
        names = [name for name in self.along[dimension] if not name.startswith(ROW_OF)]
        index = getattr(self.indexes.get(dimension), "index", None)
        if getattr(index, "nlevels", 1) == 1:
            return names
        assert index is not None
        return list(dict.fromkeys(name for name in [*index.names, *names] if name != dimension))

    def numbers(self, dimension: str) -> Positions | None:
        """The number of each row when it became xarray's; xarray may have renamed its dimension since."""
        for name, coordinate in self.along[dimension].items():
            if name.startswith(ROW_OF) and coordinate.dims == (dimension,):
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
