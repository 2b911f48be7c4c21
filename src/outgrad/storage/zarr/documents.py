"""The ``zarr.json`` files of an archive, for readers that know Zarr alone. Outgrad reads only commits."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from outgrad.storage.zarr.codecs import shard_chain
from outgrad.storage.zarr.format import (
    COMMITS,
    FORMAT,
    SEGMENTS,
    ArraySpec,
    BlockSpec,
    Commit,
    SegmentSpec,
)
from outgrad.storage.zarr.row_names import block_path
from outgrad.tree import GradientPath

Document = dict[str, Any]

FILL_VALUES: dict[str, Any] = {"b": False, "i": 0, "u": 0, "f": 0.0, "c": [0.0, 0.0]}
SHARED = "shared/"
"""How paths of arrays begin that many small ones share."""
LISTED_BLOCKS = 1000
"""Blocks of which the root says where they are; commits have all of them."""
CONSOLIDATED_ARRAYS = 500
CONSOLIDATED_SEGMENTS = 8
"""Arrays and segments of which the root repeats the metadata, about 1 KiB an array: an append would take
longer the more there are."""
COMMITS_ABOUT = (
    "The commit files of this archive, which are JSON. This is not an array: that it says so keeps tools of "
    "Zarr from looking for arrays here."
)
ROOT_ABOUT = (
    "An Outgrad archive. The newest file in commits/ says all that it holds; this is a summary of it."
)


def group_document(attributes: Document | None = None) -> Document:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes or {}}


def array_document(
    array: ArraySpec, attributes: Document, dimensions: Sequence[str] | None = None
) -> Document:
    """The metadata of a Zarr v3 array on a regular grid."""
    chain = array.chain()
    if array.chunks_per_shard > 1:
        chain = shard_chain(array.chunk_shape, chain)
    named = {} if dimensions is None else {"dimension_names": list(dimensions)}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": array.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(array.shard_shape)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": FILL_VALUES[array.dtype.kind],
        "codecs": chain,
        "attributes": attributes,
        "storage_transformers": [],
        **named,
    }


# ---- the root, which changes with every version ----
def root_document(commit: Commit | None = None) -> Document:
    """A group that says what it is, and where blocks are."""
    about: Document = {"format": FORMAT}
    if commit is not None:
        about |= _summary(commit)
    return group_document({"outgrad": about})


def root_consolidated(commit: Commit) -> Document:
    """What the root repeats of the metadata below it, as zarr-python consolidates them: xarray looks for it
    there, whichever group it opens, and warns if there is none. Nothing for large archives, whose root would
    be as large."""
    arrays = sum(len(segment.arrays) for segment in commit.segments)
    is_large = arrays > CONSOLIDATED_ARRAYS or len(commit.segments) > CONSOLIDATED_SEGMENTS
    if is_large or commit.segments[0].is_version_1:
        return {}
    # In the order of their paths, since zarr-python takes children of a group from neighbouring entries.
    listed = sorted(documents(commit), key=itemgetter(0))
    nodes = {key.removesuffix("/zarr.json"): dict(document) for key, document in listed}
    del nodes["zarr.json"]
    for document in nodes.values():
        if document["node_type"] == "group":
            document["consolidated_metadata"] = _consolidated({})
    return {"consolidated_metadata": _consolidated(nodes)}


def _summary(commit: Commit) -> Document:
    """What a person wants to know who sees the archive with Zarr alone."""
    first = commit.segments[0]
    names = list(first.tables[first.keys].names)
    blocks: dict[tuple[int, ...], list[str]] = {}
    for segment in commit.segments:
        for number, (key, block) in enumerate(zip(segment.key_values or (), segment.blocks, strict=False)):
            blocks.setdefault(key, []).append(_block_place(segment, number, block))
    listed = [{"key": dict(zip(names, key, strict=True)), "arrays": places} for key, places in blocks.items()]
    summary: Document = {
        "about": ROOT_ABOUT,
        "version": commit.version,
        "kind": commit.kind,
        "names": {"keys": names, **_axis_names(first)},
    }
    if len(listed) <= LISTED_BLOCKS:
        summary["blocks"] = listed
    return summary


def _axis_names(segment: SegmentSpec) -> Document:
    if not segment.blocks:
        return {}
    block, tables = segment.blocks[0], segment.tables
    return {
        "samples": list(tables[block.samples].names),
        "components": [tables[number].names[0] for number in block.components],
        "properties": list(tables[block.properties].names),
    }


def _block_place(segment: SegmentSpec, number: int, block: BlockSpec) -> str:
    """Where the values of a block are: the path of an array, and its rows where it has others too."""
    array, row = block.values
    if segment.archive is not None:
        return f"in {segment.archive}"
    if segment.arrays[array].pieces is not None:
        return f"in files that are listed in {segment.prefix}files"
    path = f"{segment.prefix}{segment.arrays[array].path}"
    rows = segment.tables[block.samples].rows
    is_alone = segment.arrays[array].path == f"{block_path(number, ())}values"
    return path if is_alone else f"{path}[{row}:{row + rows}]"


def commits_document() -> Document:
    """Commits as an array without elements."""
    array = ArraySpec(COMMITS, np.dtype("uint8"), (0,), 1, None)
    document = array_document(array, {"about": COMMITS_ABOUT}, ["commits"])
    return {**document, "codecs": [{"name": "bytes"}]}


# ---- segments, which do not change ----
def documents(commit: Commit) -> Iterator[tuple[str, Document]]:
    """Yield ``(key, document)`` of every ``zarr.json`` of an archive, the root first."""
    yield from above_segments(commit)
    for segment in commit.segments:
        yield from segment_documents(segment)


def above_segments(commit: Commit) -> Iterator[tuple[str, Document]]:
    """Yield ``(key, document)`` of every ``zarr.json`` that belongs to no segment."""
    yield "zarr.json", root_document(commit)
    yield f"{SEGMENTS}/zarr.json", group_document()
    if commit.format_version > 1:
        yield f"{COMMITS}/zarr.json", commits_document()


def segment_documents(segment: SegmentSpec) -> Iterator[tuple[str, Document]]:
    """Yield ``(key, document)`` of every ``zarr.json`` of a segment."""
    if segment.archive is not None:
        return  # they are in the other archive
    attributes, dimensions = _attributes_and_names(segment)
    everything = [*segment.arrays, *([segment.manifest.array] if segment.manifest else [])]
    own = [number for number, array in enumerate(everything) if array.pieces is None]
    arrays = [everything[number] for number in own]
    made = [array_document(everything[n], attributes[n], dimensions[n]) for n in own]
    groups = {"": None}  # in order: the segment itself, and every folder above an array
    for array in arrays:
        parts = array.path.split("/")[:-1]
        groups.update((f"{'/'.join(parts[: n + 1])}/", None) for n in range(len(parts)))
    below = {group: group_document() for group in groups}
    empty = {"consolidated_metadata": _consolidated({})}
    nodes = {group.rstrip("/"): {**document, **empty} for group, document in below.items() if group}
    nodes |= {array.path: document for array, document in zip(arrays, made, strict=True)}
    paths = sorted(nodes)
    for group, document in below.items():
        # People open segments, blocks and gradients as datasets. In version 1 there were none.
        is_opened = not group or group.split("/")[-3:-2] in (["blocks"], ["gradients"])
        if not segment.is_version_1 and is_opened:
            # "0" follows "/": what begins with the group lies between the two.
            first, last = (bisect_left(paths, group[:-1] + end) if group else 0 for end in "/0")
            inside = paths[first:last] if group else paths
            children = {path.removeprefix(group): nodes[path] for path in inside}
            document = {**document, "consolidated_metadata": _consolidated(children)}
        yield f"{segment.prefix}{group}zarr.json", document
    for array, document in zip(arrays, made, strict=True):
        yield f"{segment.prefix}{array.path}/zarr.json", document


def _consolidated(nodes: Document) -> Document:
    """As zarr-python writes it: without it, xarray warns and lists folders."""
    return {"kind": "inline", "must_understand": False, "metadata": nodes}


def _attributes_and_names(segment: SegmentSpec) -> tuple[list[Document], list[list[str] | None]]:
    """The attributes of each array, the manifest last, and the names of its dimensions.

    A name is given only where all that is in the array has the same one. An equal label table may be stored
    once for several axes: its array is called as at its path, by its first use.
    """
    count = len(segment.arrays) + 1
    columns: list[set[tuple[str, ...]]] = [set() for _ in range(count)]
    dimensions: list[dict[tuple[str, ...], None]] = [{} for _ in range(count)]
    places: list[list[Document]] = [[] for _ in range(count)]
    for table in segment.tables:
        columns[table.first.array].add(table.names)
    if segment.is_version_1:
        return [_names_attribute(names) for names in columns], [None] * count
    axes = _DimensionNames(segment, dimensions)
    axes.add_table(segment.keys, "keys")
    for block in segment.blocks:
        for path, spec in block.walk():
            axes.add(path, spec)
            places[spec.values.array].append(_tables_of(segment, spec))
    axes.add_others()
    attributes = [
        {**_names_attribute(names), **(of_array[0] if len(of_array) == 1 else {})}
        for names, of_array in zip(columns, places, strict=True)
    ]
    is_own = [not array.path.startswith(SHARED) for array in segment.arrays] + [True]
    return attributes, [
        list(next(iter(each))) if len(each) == 1 or (each and own) else None
        for each, own in zip(dimensions, is_own, strict=True)
    ]


def _names_attribute(columns: set[tuple[str, ...]]) -> Document:
    return {"names": list(next(iter(columns)))} if len(columns) == 1 else {}


class _DimensionNames:
    """Collects the names of the dimensions of arrays.

    Rows of a gradient are called differently than those of its parent, as by ``to_xarray``: xarray opens
    groups within each other as a tree only if dimensions of one name are equally long.
    """

    def __init__(self, segment: SegmentSpec, dimensions: list[dict[tuple[str, ...], None]]) -> None:
        self._segment = segment
        self._dimensions = dimensions

    def add(self, path: GradientPath, spec: BlockSpec) -> None:
        """Those of a block or a gradient, and of its tables, in the order in which these are stored."""
        components = [self._segment.tables[number].names[0] for number in spec.components]
        samples = _samples_of(path)
        self._add(spec.values.array, samples, *components, "properties")
        self.add_table(spec.samples, samples)
        for number, name in zip(spec.components, components, strict=True):
            self.add_table(number, name)
        self.add_table(spec.properties, "properties")
        if path and spec.offsets is not None:
            self._add(spec.offsets.array, f"{_samples_of(path[:-1])}_of_the_parent")

    def add_others(self) -> None:
        """Those of all other arrays: xarray opens no group in which an array has none."""
        self._add(-1, "chunks", "crc32c_and_bytes")
        for table in self._segment.tables:
            if table.ranges is not None:
                self._add(table.ranges.array, "ranges", "smallest_and_largest")
        if self._segment.files is not None:
            _, paths, files, pieces = self._segment.files
            self._add(paths, "bytes_of_paths")
            self._add(files, "files", "bytes_and_time")
            self._add(pieces, "pieces", "place_and_crc32")

    def add_table(self, number: int, rows: str) -> None:
        """Those of a table whose rows are the entries of ``rows``."""
        self._add(self._segment.tables[number].first.array, rows, f"{rows}_axis_names")

    def _add(self, array: int, *names: str) -> None:
        self._dimensions[array][tuple(_distinct(names))] = None


def _samples_of(path: GradientPath) -> str:
    """What the samples of a block are called, or the rows of a gradient."""
    return re.sub(r"[^\w.]", "_", ".".join((*path, "samples")))


def _distinct(names: Iterable[str]) -> list[str]:
    """Names of dimensions of one array, which are different for xarray."""
    found: list[str] = []
    for name in names:
        same = sum(name == each or each.startswith(f"{name}_again") for each in found)
        found.append(name if not same else f"{name}_again" + ("" if same == 1 else str(same)))
    return found


def _tables_of(segment: SegmentSpec, spec: BlockSpec) -> Document:
    """Where the labels of values are, which may be stored with another block."""

    def place(number: int) -> str:
        table = segment.tables[number]
        array = segment.arrays[table.first.array]
        is_all = table.rows == array.shape[0]
        return array.path if is_all else f"{array.path}[{table.first.row}:{table.first.row + table.rows}]"

    return {
        "labels": {
            "samples": place(spec.samples),
            "components": [place(number) for number in spec.components],
            "properties": place(spec.properties),
        }
    }


def serialize(document: Document) -> bytes:
    # Json's own indentation is made in Python, ten times slower than all the rest.
    return msgspec.json.format(json.dumps(document).encode(), indent=1)
