"""Files and archives that an archive refers to: their labels are copied, and values stay where they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from outgrad import config
from outgrad._signals import stopping_cleanly
from outgrad.data.chunk import Array, Table
from outgrad.data.chunking import choose_edges
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.outlines import uncut
from outgrad.errors import ArchiveExistsError, PathError, ValidationError
from outgrad.labels.labels import Labels
from outgrad.storage.mts.dataset import dataset_entries
from outgrad.storage.mts.scan import MtsWindow, PlacedArray, ScannedMts, scan_all
from outgrad.storage.paths import ZARR_SUFFIX, check_suffix, local_path, reaching, shown_path
from outgrad.storage.places import source_path, target_path
from outgrad.storage.publishing import publish_all
from outgrad.storage.store import Store
from outgrad.storage.stores import open_store
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.appendable import Addition, require_appendable
from outgrad.storage.zarr.format import (
    Added,
    ArraySpec,
    BlockSpec,
    ChunkOptions,
    FileTables,
    FirstRow,
    PieceRange,
    SegmentSpec,
)
from outgrad.storage.zarr.layout import Contents, Tables, array_spec, check_dtype, lay_out_tables, table_grid
from outgrad.storage.zarr.reader import open_archive
from outgrad.storage.zarr.revision import VersionContent, make_version
from outgrad.storage.zarr.row_names import block_path
from outgrad.storage.zarr.save_session import Description, SaveSession, chunk_records
from outgrad.storage.zarr.segment import ShardRecords, numbered_shards, write_segment
from outgrad.storage.zarr.storage_chunks import RowSink, SegmentStore
from outgrad.storage.zarr.updates import Append
from outgrad.tree import GradientPath, fold_down


def index(
    files: Iterable[str | PathLike[str]],
    path: str | PathLike[str],
    *,
    append: bool = False,
    root: str | PathLike[str] | None = None,
    target: str | None = None,
    renumber: str | None = None,
    provenance: dict[str, Any] | None = None,
    durable: bool | None = None,
) -> None:
    """Make an archive that refers to files: labels are copied, and values are read where they are.

    The files may be metatensor's ``.mts`` and ``.npz`` files that are not compressed, data sets of metatrain
    (``.zip``), and archives. All have the same names, dtype and gradients, and the same components and
    properties in the blocks of each key; no sample may be in two of them. The archive is opened like any
    other. A file that was changed or removed since is an error that names it. Members of files are compared
    with their CRC-32 when they are read.

    Parameters
    ----------
    files : iterable of str or Path
        The files, in the order of their samples.
    path : str or Path
        The archive to make; its name must end in ``.zarr``.
    append : bool
        Add to the archive if there is one, as :func:`append` does.
    root : str or Path, optional
        The folder in which all files are, and to which paths are kept relative. The default is the folder of
        the archive, so that both can be moved together. Archives that refer to files elsewhere are only
        opened where the setting ``outgrad.index-roots`` lists the folder.
    target : str, optional
        Of data sets with several targets, the one that is indexed.
    renumber : str, optional
        A dimension of the samples, such as ``"system"``, that is counted from 0 in each file: it is counted
        on from one file to the next.
    provenance : dict, optional
        How the data were made: any JSON object.
    durable : bool, optional
        As for :func:`save`.

    Raises
    ------
    ValidationError
        If the files do not fit together, or a sample is in two of them; the message names the files.
    FileFormatError
        If a file is corrupted, or compressed; the message says how to convert it.
    PathError
        If a file is not in ``root``.
    ArchiveExistsError
        If there is an archive at the path and ``append`` is not set.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> for system in range(3):
    ...     block = og.block_from_array(np.full((1, 2), float(system)), sample_names=["system"])
    ...     og.save(f"system-{system}.mts", og.TensorMap(og.Labels.single(), [block]))
    >>> og.index([f"system-{system}.mts" for system in range(3)], "all.zarr", renumber="system")
    >>> og.open("all.zarr").block().values.compute()
    array([[0., 0.],
           [1., 1.],
           [2., 2.]])
    """
    local = local_path("index", path)
    check_suffix("index", local, (ZARR_SUFFIX,))
    with reaching("index", local):
        store = open_store(target_path("index", local))
        if commits.versions(store) and not append:
            raise ArchiveExistsError(
                f"index {store.name}: the path exists; choose another one, or pass append=True to add to it"
            )
        folder = Path(store.name).parent if root is None else source_path("index", local_path("index", root))
        if not folder.is_dir() and root is not None:
            raise PathError(f"index: root={shown_path(folder)} is not a folder; pass the one with all files")
        folder = Path(os.path.realpath(folder))
    sources = [each for file in files for each in _sources(folder, file, target)]
    if not sources:
        raise ValidationError("index: no files were given; give at least one")
    described = Description("map", {}, dict(provenance or {}))
    for is_archive, group in groupby(sources, key=lambda each: isinstance(each, Path)):
        with reaching("index", local):
            if is_archive:
                for archive in group:
                    assert isinstance(archive, Path), "they are grouped by what they are"
                    _add_archive(store, archive, described)
            else:
                indexed = _Indexed(folder, renumber)
                for scanned in scan_all(each for each in group if isinstance(each, MtsWindow)):
                    indexed.add(scanned)
                _write(store, indexed, described, durable=config.durable(durable))


def _sources(root: Path, file: str | PathLike[str], target: str | None) -> Iterator[MtsWindow | Path]:
    """What a file that a user named stands for: itself, an archive, or the entries of a data set."""
    path = Path(os.path.realpath(source_path("index", local_path("index", file))))
    if path.is_dir() and not commits.is_archive(open_store(path)):
        commits.read_newest(open_store(path))  # says what is there instead
    if not path.is_relative_to(root):
        raise PathError(
            f"index {shown_path(path)}: it is not in {root}; put the archive into a folder above its files, "
            "or pass root= (archives with other roots are only opened where 'outgrad.index-roots' lists them)"
        )
    if path.is_dir():
        yield path
    elif path.suffix == ".zip":
        entries = dataset_entries(path)
        if target is None and len(entries.names) != 1:
            raise ValidationError(
                f"index {shown_path(path)}: it has the targets {sorted(entries.names)}; pass target= with one"
            )
        chosen = entries.of(entries.names[0] if target is None else target)
        if not len(chosen):
            raise ValidationError(
                f"index {shown_path(path)}: it has no target {target!r}, but {sorted(entries.names)}"
            )
        yield from chosen
    else:
        yield MtsWindow(str(path))


def _relative(path: Path, archive: str) -> str:
    """A path relative to an archive; absolute if it is not in the folder of the archive."""
    folder = Path(os.path.realpath(archive)).parent
    if path.is_relative_to(folder):
        return os.path.relpath(path, os.path.realpath(archive))
    return str(path)


# ---- files: their labels are put together in one segment -----------------------------------------


@dataclass
class _Node:
    """What is known of the values of a key, or of a gradient of them, in all files."""

    names: tuple[str, ...]
    tables: list[Table] = field(default_factory=list)
    pieces: list[tuple[int, ...]] = field(default_factory=list)
    edges: list[int] = field(default_factory=lambda: [0])
    """Rows at which the files begin."""

    @property
    def rows(self) -> int:
        return self.edges[-1]


class _Indexed:
    """Files of one schema, whose labels follow each other."""

    def __init__(self, root: Path, renumber: str | None) -> None:
        self.files: list[tuple[str, int, int]] = []
        """Path in the root, size, and time of the last change in ns."""
        self.info: dict[str, str] = {}
        self.key_names: list[str] = []
        self.keys: dict[tuple[int, ...], dict[GradientPath, _Node]] = {}
        self.patterns: dict[tuple[int, ...], tuple[BlockMetadata, PlacedArray]] = {}
        self.root = str(root)
        self._numbers: dict[str, int] = {}
        self._renumber = renumber
        self._next = 0

    def add(self, scanned: ScannedMts) -> None:
        """Add a file.

        Raises
        ------
        ValidationError
            If it does not fit to those before.
        """
        name = os.path.relpath(scanned.window.path, self.root)
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.files)
            self.files.append((name, scanned.file_bytes, scanned.modified_ns))
        is_first = not self.key_names
        if is_first:
            self.key_names = scanned.keys.names
            self.info = dict(scanned.info)
        elif scanned.keys.names != self.key_names:
            raise self._misfit(scanned, f"its keys have names {scanned.keys.names}, not {self.key_names}")
        self.info = {key: text for key, text in self.info.items() if scanned.info.get(key) == text}
        largest = -1
        each = zip(scanned.keys.values.tolist(), scanned.metadata, scanned.arrays, strict=True)
        for row, metadata, arrays in each:
            nodes = self._nodes(scanned, tuple(row), metadata, arrays)
            largest = max(largest, self._add_block(nodes, number, metadata, arrays))
        self._next += largest + 1

    def _add_block(
        self, nodes: dict[GradientPath, _Node], file: int, metadata: BlockMetadata, arrays: PlacedArray
    ) -> int:
        """Add the rows of a block; return the largest number in the dimension that is renumbered."""
        largest = -1
        rows_before = {path: node.rows for path, node in nodes.items()}
        for path, node in nodes.items():
            samples, placed = metadata.at(path).samples, arrays.at(path)
            table = samples.values
            column = None  # the dimension that is renumbered; the first one of a gradient counts samples
            if self._renumber is not None and self._renumber in samples.names[bool(path) :]:
                column = samples.names.index(self._renumber, bool(path))
            if column is not None and len(table):
                largest = max(largest, int(table[:, column].max()))
            if path or column is not None:
                table = table.copy()
            if path:
                table[:, 0] += rows_before[path[:-1]]
            if column is not None:
                table[:, column] += self._next
            node.tables.append(table)
            if len(table):
                where = placed.offset, placed.member_offset, placed.member_bytes, placed.crc
                node.pieces.append((node.rows, file, *where))
            node.edges.append(node.rows + len(table))
        return largest

    def _nodes(
        self, scanned: ScannedMts, key: tuple[int, ...], metadata: BlockMetadata, arrays: PlacedArray
    ) -> dict[GradientPath, _Node]:
        """What is known of a key; of a new one nothing, after a comparison with the others."""
        known = self.patterns.get(key)
        pattern = known or next(iter(self.patterns.values()), None)
        if pattern is not None:
            mistake = _schema_mistake(*pattern, metadata, arrays, is_same_key=known is not None)
            if mistake:
                raise self._misfit(scanned, f"block {key} has other {mistake}")
        if known is None:
            self.patterns[key] = metadata, arrays
            self.keys[key] = {path: _Node(tuple(node.samples.names)) for path, node in metadata.walk()}
        return self.keys[key]

    def _misfit(self, scanned: ScannedMts, text: str) -> ValidationError:
        where = scanned.window.path + (f" ({scanned.window.entry})" if scanned.window.entry else "")
        return ValidationError(
            f"index {where}: it does not fit to {self.files[0][0]}: {text}; index it into another archive"
        )


def _schema_mistake(
    labels: BlockMetadata,
    placed: PlacedArray,
    other: BlockMetadata,
    arrays: PlacedArray,
    *,
    is_same_key: bool,
) -> str:
    """In what a block differs from another one with which it has to agree; "" if in nothing."""
    if placed.dtype != arrays.dtype:
        return f"values: {arrays.dtype} instead of {placed.dtype}"
    paths = [path for path, _ in labels.walk()]
    if {path for path, _ in other.walk()} != set(paths):
        return "gradients"
    for path in paths:
        first, second = labels.at(path), other.at(path)
        if first.samples.names != second.samples.names:
            return f"samples: {second.samples.names} instead of {first.samples.names}"
        same = [each.names for each in (*first.components, first.properties)]
        if same != [each.names for each in (*second.components, second.properties)]:
            return "names of components or properties"
        if is_same_key and (first.components != second.components or first.properties != second.properties):
            return "components or properties"
    return ""


def _write(store: Store, indexed: _Indexed, described: Description, *, durable: bool) -> None:
    """Write the labels of files, and where their arrays are, as a segment of its own."""
    options = ChunkOptions()
    keys = Labels(
        indexed.key_names, np.array(list(indexed.keys), np.int32).reshape(-1, len(indexed.key_names))
    )
    metadata = [_labels_of(indexed, key) for key in indexed.keys]
    arrays, first_rows = _outside_arrays(indexed)
    dtypes = [placed.dtype for _, placed in indexed.patterns.values()]
    outlines = [uncut(labels, dtype) for labels, dtype in zip(metadata, dtypes, strict=True)]
    tables = Tables(table_grid(options.sizes))
    tables.number(keys, "keys")
    layout = lay_out_tables(tables, metadata, arrays, first_rows, options)
    addition = Addition(keys, metadata, dtypes, indexed.info, None)
    update = Append(partial(require_appendable, addition=addition), action="index")
    session = SaveSession(store, update, durable=durable)
    with stopping_cleanly():
        session.begin()
        try:
            segment_store, name = session.segment_store(), session.segment_name
            contents = Contents(keys, metadata, outlines)
            segment, written = write_segment(segment_store, name, "map", layout, contents, options)
            segment = _with_edges(segment, indexed, options)
            segment = _with_files(segment_store, segment, written, indexed, store.name, options)
            records = chunk_records(store.name, segment, written)
            session.prepare(replace(described, info=indexed.info), segment, records, options.sizes)
            publish_all([session])
        except BaseException:
            session.abort()
            raise


def _labels_of(indexed: _Indexed, key: tuple[int, ...]) -> BlockMetadata:
    """The labels of a block, of all files."""
    nodes, (pattern, _) = indexed.keys[key], indexed.patterns[key]

    def labelled(path: GradientPath, _: object, node: BlockMetadata, below: Any) -> BlockMetadata:
        known = nodes[path]
        table = np.concatenate([np.empty((0, len(known.names)), np.int32), *known.tables])
        try:
            samples = Labels(known.names, table, assume_unique=bool(path))
        except ValidationError as error:
            raise ValidationError(
                f"index: a sample of block {key} is in two files: {error}; if a dimension is counted from 0 "
                "in each file, pass its name as renumber="
            ) from error
        return replace(node, samples=samples, gradients=below)

    return fold_down(labelled, pattern)


def _outside_arrays(indexed: _Indexed) -> tuple[list[ArraySpec], list[FirstRow]]:
    """The arrays of all blocks, whose rows are in files."""
    arrays: list[ArraySpec] = []
    used = 0
    for number, (key, nodes) in enumerate(indexed.keys.items()):
        labels, placed = indexed.patterns[key]
        for path, node in nodes.items():
            name = f"{block_path(number, path)}values"
            check_dtype(placed.dtype, name)
            shape = (node.rows, *labels.at(path).trailing)
            pieces = PieceRange(used, len(node.pieces))
            storage = placed.dtype.newbyteorder("<")
            arrays.append(ArraySpec(name, storage, shape, max(1, node.rows), None, pieces=pieces))
            used += len(node.pieces)
    return arrays, [FirstRow(number, 0) for number in range(len(arrays))]


def _with_edges(segment: SegmentSpec, indexed: _Indexed, options: ChunkOptions) -> SegmentSpec:
    """Cut blocks between files, unless these are large: so a task reads whole members of files."""
    blocks = []
    for block, nodes in zip(segment.blocks, indexed.keys.values(), strict=True):
        row_bytes = {path: segment.arrays[spec.values.array].row_bytes for path, spec in block.walk()}
        nbytes = np.sum([np.array(node.edges) * row_bytes[path] for path, node in nodes.items()], axis=0)
        if np.diff(nbytes).max(initial=0) > options.sizes.whole_system:
            blocks.append(block)
            continue
        allowed = np.arange(len(nbytes), dtype=np.int64)
        chosen = choose_edges(nbytes, allowed, options.sizes.fine_chunk)
        edges = {path: tuple(np.array(node.edges)[chosen].tolist()) for path, node in nodes.items()}

        def cut(path: GradientPath, _: object, spec: BlockSpec, below: Any, edges: Any = edges) -> BlockSpec:
            return replace(spec, edges=edges[path], gradients=below)

        blocks.append(fold_down(cut, block))
    return replace(segment, blocks=tuple(blocks))


def _with_files(
    store: SegmentStore,
    segment: SegmentSpec,
    written: ShardRecords,
    indexed: _Indexed,
    archive: str,
    options: ChunkOptions,
) -> SegmentSpec:
    """Write which files there are, and which of their bytes are which rows."""
    names = b"".join(os.fsencode(name) + b"\0" for name, _, _ in indexed.files)
    files = [(size, modified) for _, size, modified in indexed.files]
    pieces = [piece for nodes in indexed.keys.values() for node in nodes.values() for piece in node.pieces]
    made: dict[str, Array] = {
        "files/paths": np.frombuffer(names, np.uint8),
        "files/files": np.array(files, np.int64).reshape(-1, 2),
        "files/pieces": np.array(pieces, np.int64).reshape(-1, 6),
    }
    arrays = list(segment.arrays)
    for path, rows in made.items():
        spec = array_spec(path, rows.dtype, rows.shape, table_grid(options.sizes), options.compressor)
        sink = RowSink(store, spec)
        sink.append(rows)
        arrays.append(sink.close())
        written.update(numbered_shards(len(arrays) - 1, sink.shards))
    first = len(segment.arrays)
    root = _relative(Path(indexed.root), archive)
    return replace(segment, arrays=tuple(arrays), files=FileTables(root, first, first + 1, first + 2))


# ---- archives: their segments are named where they are -------------------------------------------


def _add_archive(store: Store, archive: Path, described: Description) -> None:
    """Name the segments of another archive, as they are now."""
    other = open_store(archive)
    opened = open_archive(other)
    segments = []
    for segment in opened.commit.segments:
        there = archive if segment.archive is None else Path(os.path.realpath(archive / segment.archive))
        files = segment.files
        if files is not None:  # what it refers to itself is named from here
            files = files._replace(root=_relative(Path(os.path.realpath(archive / files.root)), store.name))
        segments.append(replace(segment, archive=_relative(there, store.name), files=files))
    dtypes = [outline.dtype for outline in opened.outlines]
    fill = opened.commit.fill
    addition = Addition(opened.keys, opened.metadata, dtypes, opened.info, fill)
    update = Append(partial(require_appendable, addition=addition), fill, action="index")
    if store.is_there():
        update.require(store)
    added = [segment.added for segment in segments]
    content = VersionContent(
        action="index",
        kind=opened.kind,
        info=opened.info,
        provenance=described.provenance,
        segments=tuple(segments),
        added=Added(sum(each.samples for each in added), sum(each.nbytes for each in added)),
        fill=fill,
    )
    make_version(store, content, update.revise)
