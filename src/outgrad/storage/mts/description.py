"""What an ``.mts`` file says of itself: its members matched to blocks, its labels, where its arrays are."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrad.data.metadata import BlockMetadata
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.storage.mts import names as layout
from outgrad.storage.mts.file import Limits, MtsSource, file_error, shown
from outgrad.storage.mts.members import MemberBytes, StoredArray, open_array, open_table, table_of
from outgrad.storage.mts.npy import MAGIC, MAX_AXES, table_header
from outgrad.storage.mts.zip import DEFLATED, Member, read_directory
from outgrad.tensor import check
from outgrad.tree import Tree

FREE_ROWS = 1 << 16
"""A table of so many rows is always inflated: it takes little memory."""
ROWS_IN_A_BYTE = 4
"""Distinct labels were found to take more than a byte each; 0, 1, 2, … alone has the most rows in a byte."""
SHARED_BYTES = 16 << 20
"""Label tables that were used while so many bytes of others came are kept, to be used again."""


@dataclass(frozen=True, slots=True)
class StoredBlock(Tree):
    """Where the values of a block are in the file, and the same for each gradient."""

    prefix: str
    values: StoredArray
    gradients: dict[str, StoredBlock]


class SharedLabels:
    """Labels that were read, by the bytes of their members, so that equal tables are one object.

    Of many files only what was used lately is kept: properties and components, which all of them have, and
    not the samples, which no other has.
    """

    def __init__(self) -> None:
        self._recent: dict[bytes, Labels] = {}
        self._older: dict[bytes, Labels] = {}
        self._recent_bytes = 0

    def get(self, content: bytes) -> Labels | None:
        """Return the labels that were made of equal bytes, if they are kept."""
        labels = self._recent.get(content)
        if labels is None:
            labels = self._older.get(content)
            if labels is not None:
                self.put(content, labels)
        return labels

    def put(self, content: bytes, labels: Labels) -> None:
        """Keep labels that were made of these bytes."""
        self._recent[content] = labels
        self._recent_bytes += len(content)
        if self._recent_bytes > SHARED_BYTES:
            self._recent, self._older, self._recent_bytes = {}, self._recent, 0


class MtsDescription:
    """All of an open file but its values; everything that is read is checked first.

    Parameters
    ----------
    file : MtsSource
        The bytes.
    limits : Limits
        What the file may ask for.
    shared : SharedLabels, optional
        Labels of other files.
    """

    def __init__(self, file: MtsSource, limits: Limits, shared: SharedLabels | None = None) -> None:
        self.file, self._limits = file, limits
        self.members = layout.layout_members(file, read_directory(file))
        self.kind = layout.kind_of_file(file, self.members)
        self._source = MemberBytes(file)
        self._trees = layout.gradient_trees(self.members)
        self._blocks: dict[int, StoredBlock] = {}
        self._shared = SharedLabels() if shared is None else shared
        self._inflated_bytes = 0
        self._used: set[str] = set()

    def described(self) -> tuple[Labels, dict[str, str], tuple[BlockMetadata, ...]]:
        """Return keys, info and the labels of all blocks, which follow the rules of a map."""
        keys, info = self.keys(), self.info()
        metadata = tuple([self.metadata(number) for number in range(len(keys))])
        try:
            check.same_names(metadata, [self.dtype(number) for number in range(len(metadata))])
        except ValidationError as error:
            raise file_error(self.file.where(), str(error)) from None
        return keys, info, metadata

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
        if self.kind != "map" or layout.INFO not in self.members:
            return {}
        member, where = self.member(layout.INFO), self.file.where(layout.INFO)
        self._allow_inflating(member)
        try:
            info = json.loads(self.read_whole(member).decode("utf-8"))
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
        member = self.member(name)
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
        content = self.read_whole(member)
        labels = self._shared.get(content)
        if labels is None:
            labels = labels_of(self.file, member, content)
            self._shared.put(content, labels)
        return labels

    def read_whole(self, member: Member) -> bytes:
        """Return all bytes of a member, whose checksum is compared."""
        return self._source.read_whole(member)

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
        if shape != (len(samples), *map(len, components), len(properties)):
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

    def unread(self) -> tuple[str, ...]:
        """Return the names of arrays and labels that belong to no block; metatensor ignores them silently."""
        return tuple(sorted(set(self.members) - self._used - {layout.INFO}))

    def block(self, number: int) -> StoredBlock:
        """Return where the arrays of a block are; their headers are read once."""
        if number not in self._blocks:
            prefix = layout.block_prefix(self.kind, number)
            if prefix not in self._trees:
                raise self._missing(layout.values_name(prefix))
            self._blocks[number] = self._find(prefix, self._trees[prefix])
        return self._blocks[number]

    def _find(self, prefix: str, parameters: layout.ParameterTree) -> StoredBlock:
        values = open_array(self._source, self.member(layout.values_name(prefix)))
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

    def member(self, name: str) -> Member:
        """Return a member of the layout, which is in use from now on."""
        if name not in self.members:
            raise self._missing(name)
        self._used.add(name)
        return self.members[name]

    def _missing(self, name: str) -> Exception:
        return file_error(self.file.where(), f"the member {name!r} is missing")


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


def warn_of_unread(path: str, names: Sequence[str]) -> None:
    """Warn if a file has members that are not read."""
    if names:
        warnings.warn(
            f"{path!r} has {len(names)} member(s) that belong to nothing and are not read; "
            f"the first is {shown(names[0])}",
            UserWarning,
            stacklevel=3,
        )


def is_labels(file: MtsSource) -> bool:
    """Whether this is an ``.npy`` file, as labels alone are stored, and no ZIP file."""
    return file.read(0, min(len(MAGIC), file.size)) == MAGIC


def labels_of(file: MtsSource, member: Member, content: bytes) -> Labels:
    """Make labels of all the bytes of a member."""
    where = file.where(member.name)
    header = table_header(content, len(content), where)
    try:
        return Labels(header.names, table_of(header, content))
    except ValidationError as error:
        raise file_error(where, str(error)) from None
