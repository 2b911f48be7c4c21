"""An open ``.mts`` file: its members matched to blocks, its labels and the rows of its arrays."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from outgrad.data.chunk import Chunk, Table
from outgrad.data.metadata import BlockMetadata
from outgrad.data.requests import Request
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.storage.mts import names as layout
from outgrad.storage.mts.checks import MemberChecks
from outgrad.storage.mts.file import Limits, MtsSource, file_error
from outgrad.storage.mts.members import (
    MemberBytes,
    StoredArray,
    StoredTable,
    open_array,
    open_table,
    read_rows,
    read_table,
    table_of,
)
from outgrad.storage.mts.npy import MAX_AXES, table_header
from outgrad.storage.mts.zip import DEFLATED, Member, read_directory
from outgrad.tree import GradientPath, Tree

REPLACED = "the file was replaced since it was opened: open it again"
FREE_ROWS = 1 << 16
"""A table of so many rows is always inflated: it takes little memory."""
ROWS_IN_A_BYTE = 4
"""Distinct labels were found to take more than a byte each; 0, 1, 2, … alone has the most rows in a byte."""


@dataclass(frozen=True, slots=True)
class StoredBlock(Tree):
    """Where the values of a block are in the file, and the same for each gradient."""

    prefix: str
    values: StoredArray
    gradients: dict[str, StoredBlock]


class MtsContent:
    """The members of one open file; everything that is read from them is checked first.

    With ``check_pieces``, members are read to their end once in a process before parts of them are used.
    """

    def __init__(self, file: MtsSource, limits: Limits, check_pieces: bool = True) -> None:
        self.file, self._limits, self.check_pieces = file, limits, check_pieces
        self._members = layout.layout_members(file, read_directory(file))
        self.kind = layout.kind_of_file(file, self._members)
        self.token = token_of(file, self._members.values(), check_pieces)
        self._source = MemberBytes(file)
        self._checks = MemberChecks(self._source, f"{self.token} {file.status_changed_ns}")
        self._trees = layout.gradient_trees(self._members)
        self._blocks: dict[int, StoredBlock] = {}
        self._labels: dict[bytes, Labels] = {}
        self._tables: dict[str, StoredTable] = {}
        self._inflated_bytes = 0
        self._used: set[str] = set()

    # ---- what is read on opening -----------------------------------------------------------------

    def keys(self) -> Labels:
        """Return the keys of a map, one for each block; for a single block the key that means nothing."""
        if self.kind != "map":
            return Labels.single()
        keys = self.labels(layout.KEYS)
        blocks = len(self._trees) - ("" in self._trees)
        if len(keys) > blocks:
            raise file_error(self.file.where(layout.KEYS), f"there are {len(keys)} keys, but {blocks} blocks")
        return keys

    def info(self) -> dict[str, str]:
        """Return the content of ``info.json``, if there is one."""
        if self.kind != "map" or layout.INFO not in self._members:
            return {}
        member, where = self._member(layout.INFO), self.file.where(layout.INFO)
        self._allow_inflating(member)
        try:
            info = json.loads(self._read_whole(member).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise file_error(where, f"it is not JSON ({error})") from None
        if not isinstance(info, dict) or not all(isinstance(value, str) for value in info.values()):
            raise file_error(where, "it must be one object whose values are strings")
        return info

    def metadata(self, number: int) -> BlockMetadata:
        """Return the labels of a block and its gradients, which fit the shapes of the arrays."""
        stored = self.block(number)
        properties = self.labels(layout.properties_name(stored.prefix))
        return self._metadata(stored, properties)

    def dtype(self, number: int) -> np.dtype[Any]:
        return self.block(number).values.dtype

    def nbytes(self, number: int) -> int:
        """Return the bytes of values and gradients of a block."""
        return sum(stored.values.header.data_bytes for _, stored in self.block(number).walk())

    def labels(self, name: str) -> Labels:
        """Return a label table; equal tables, like the properties of all blocks, are one object."""
        member = self._member(name)
        self._allow_inflating(member)
        if member.method == DEFLATED:
            # Rows of labels all differ, so a table of more rows than this cannot be one: it is not inflated.
            rows = open_table(self._source, member).header.rows
            if rows > FREE_ROWS + ROWS_IN_A_BYTE * member.compressed_bytes:
                raise file_error(
                    self.file.where(name),
                    f"it declares {rows} labels, more than can differ in its {member.compressed_bytes} "
                    "compressed bytes",
                )
        content = self._read_whole(member)
        key = blake2b(content, digest_size=16).digest()
        if key not in self._labels:
            self._labels[key] = labels_of(self.file, member, content)
        return self._labels[key]

    def warn_of_rest(self) -> None:
        """Warn if arrays or labels belong to no block; metatensor ignores them silently."""
        unused = sorted(set(self._members) - self._used - {layout.INFO})
        if unused:
            warnings.warn(
                f"{self.file.path!r} has {len(unused)} member(s) that belong to nothing and are not read; "
                f"the first is {self.file.shown(unused[0])}",
                UserWarning,
                stacklevel=2,
            )

    def _read_whole(self, member: Member) -> bytes:
        content = self._source.read_whole(member)
        self._checks.passed(member)
        return content

    def _allow_inflating(self, member: Member) -> None:
        """Refuse labels and texts that would take far more memory than the file has bytes.

        They are read when the file is opened. What is not compressed is as large as it is on disk.
        """
        if member.method != DEFLATED:
            return
        self._inflated_bytes += member.nbytes
        allowed = self._limits.label_bytes + self._limits.label_expansion * self.file.size
        if self._inflated_bytes > allowed:
            raise file_error(
                self.file.where(member.name),
                f"the label tables up to this one take {self._inflated_bytes} bytes of memory, "
                f"more than {allowed} for a file of {self.file.size} bytes",
                "if you trust the file, save it again with metatensor, uncompressed",
            )

    def _metadata(self, stored: StoredBlock, properties: Labels) -> BlockMetadata:
        samples = self.labels(layout.samples_name(stored.prefix))
        shape = stored.values.header.shape
        components = tuple(
            self.labels(layout.component_name(stored.prefix, number)) for number in range(len(shape) - 2)
        )
        metadata = BlockMetadata(samples, components, properties)
        if shape != metadata.shape:
            where = self.file.where(stored.values.member.name)
            raise file_error(where, f"values have shape {shape}, but their labels describe {metadata.shape}")
        for number, component in enumerate(components):
            if len(component.names) != 1:
                where = self.file.where(layout.component_name(stored.prefix, number))
                raise file_error(where, f"a component must have one dimension, found {component.names}")
        for parameter, nested in stored.gradients.items():
            gradient = self._metadata(nested, properties)
            if reason := _misfit_of_gradient(metadata, gradient):
                raise file_error(self.file.where(layout.samples_name(nested.prefix)), reason)
            if nested.values.dtype != stored.values.dtype:
                raise file_error(
                    self.file.where(layout.samples_name(nested.prefix)),
                    f"the gradient has type {nested.values.dtype}, the values have {stored.values.dtype}",
                )
            metadata.gradients[parameter] = gradient
        return metadata

    # ---- what is read by tasks -------------------------------------------------------------------

    def chunk(self, request: Request) -> Chunk:
        """Read the rows of one chunk."""
        remaining = iter(request.ranges)
        chunks: dict[GradientPath, Chunk] = {}
        ranges: dict[GradientPath, tuple[int, int]] = {}
        for path, stored in self.block(request.block).walk():
            start, stop = ranges[path] = next(remaining)
            count, member = stored.values.rows, stored.values.member
            if not 0 <= start <= stop <= count:
                reason = f"rows [{start}, {stop}) are asked for, but it has {count}"
                raise file_error(self.file.where(member.name), reason, REPLACED)
            if stop - start == count:
                values = read_rows(self._source, stored.values, start, stop)  # compares the checksum
                self._checks.passed(member)
            else:
                self._check(member)
                values = read_rows(self._source, stored.values, start, stop)
            chunks[path] = Chunk(values)
            if path:
                parent = path[:-1]
                chunks[path] = Chunk(values, table=self._read_table(stored, ranges[path], ranges[parent]))
                chunks[parent].gradients[path[-1]] = chunks[path]
        if next(remaining, None) is not None:
            where = self.file.where(layout.block_prefix(self.kind, request.block))
            raise file_error(where, "it has fewer gradients than are asked for", REPLACED)
        return chunks[()]

    def block(self, number: int) -> StoredBlock:
        """Return where the arrays of a block are; their headers are read once."""
        if number not in self._blocks:
            prefix = layout.block_prefix(self.kind, number)
            if prefix not in self._trees:
                raise self._missing(layout.values_name(prefix))
            self._blocks[number] = self._find(prefix, self._trees[prefix])
        return self._blocks[number]

    def _find(self, prefix: str, parameters: layout.ParameterTree) -> StoredBlock:
        values = open_array(self._source, self._member(layout.values_name(prefix)))
        axes = len(values.header.shape)
        if not 2 <= axes <= MAX_AXES:
            raise file_error(
                self.file.where(values.member.name), f"values must have 2 to {MAX_AXES} axes, found {axes}"
            )
        gradients = {
            parameter: self._find(layout.gradient_prefix(prefix, parameter), nested)
            for parameter, nested in parameters.items()
        }
        return StoredBlock(prefix, values, gradients)

    def _read_table(
        self, stored: StoredBlock, gradient_rows: tuple[int, int], parent_rows: tuple[int, int]
    ) -> Table:
        """Read the samples of a gradient, with rows counted from the start of the parent's chunk."""
        name = layout.samples_name(stored.prefix)
        if name not in self._tables:
            self._check(self._member(name))
            self._tables[name] = open_table(self._source, self._member(name))
        table = read_table(self._source, self._tables[name], *gradient_rows)
        first, stop = parent_rows
        table[:, 0] -= first
        parents = table[:, 0]
        if len(parents) and not 0 <= parents.min() <= parents.max() < stop - first:
            raise file_error(
                self.file.where(name),
                f"gradient rows {gradient_rows} do not belong to rows {parent_rows} of the values",
            )
        return table

    def _check(self, member: Member) -> None:
        if self.check_pieces:
            self._checks.require_intact(member)

    def _member(self, name: str) -> Member:
        if name not in self._members:
            raise self._missing(name)
        self._used.add(name)
        return self._members[name]

    def _missing(self, name: str) -> Exception:
        return file_error(repr(self.file.path), f"the member {name!r} is missing")


def _misfit_of_gradient(parent: BlockMetadata, gradient: BlockMetadata) -> str | None:
    """Say what in the labels of a gradient does not fit those of its parent."""
    if gradient.samples.names[:1] != ["sample"]:
        return f"a gradient's samples must begin with 'sample', found {gradient.samples.names}"
    rows = gradient.samples.column("sample")
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(parent.samples):
        return f"'sample' is {rows.min()} to {rows.max()}, but the values have {len(parent.samples)} rows"
    extra = len(gradient.components) - len(parent.components)
    if extra < 0 or gradient.components[extra:] != parent.components:
        return "the last components of the gradient are not those of the values"
    return None


def labels_of(file: MtsSource, member: Member, content: bytes) -> Labels:
    """Make labels of all the bytes of a member."""
    where = file.where(member.name)
    header = table_header(content, len(content), where)
    try:
        return Labels(header.names, table_of(header, content))
    except ValidationError as error:
        raise file_error(where, str(error)) from None


def token_of(file: MtsSource, members: Iterable[Member], check_pieces: bool = True) -> str:
    """Name what reading gives by path, size, time of change, checksums and checks: 32 hex characters."""
    named = f"{file.path}\n{file.size}\n{file.modified_ns}\n{check_pieces}"
    digest = blake2b(named.encode("utf-8", "surrogateescape"), digest_size=16)
    for member in members:
        digest.update(repr(tuple(member)).encode())
    return digest.hexdigest()
