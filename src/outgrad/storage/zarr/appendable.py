"""Whether a map can be appended to an archive: its schema, and samples that are there already.

Samples are compared by digest and by their smallest and largest numbers first. Tables are read only where
these overlap, and of these only the chunks in which the same systems may be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrad.data.metadata import BlockMetadata
from outgrad.errors import ValidationError
from outgrad.labels.display import row_text
from outgrad.labels.labels import Labels
from outgrad.storage.zarr.commit_json import fill_to_json
from outgrad.storage.zarr.common_samples import common_sample
from outgrad.storage.zarr.format import FillNumber
from outgrad.storage.zarr.joined_blocks import JoinedBlock
from outgrad.storage.zarr.opened import OpenArchive
from outgrad.storage.zarr.table_ranges import system_column


@dataclass
class Addition:
    """What is to be appended: labels and dtypes, without data."""

    keys: Labels
    metadata: Sequence[BlockMetadata]
    dtypes: Sequence[np.dtype[Any]]
    info: Mapping[str, str]
    fill: FillNumber | None
    fits: str = ""
    """The version, by its token, to which it was found to fit: a writer asks before and after it computes."""


def require_appendable(archive: OpenArchive, addition: Addition) -> None:
    """Refuse what does not fit to the archive; label tables are read where samples may be the same.

    Raises
    ------
    ValidationError
        If names, components, properties, gradients or dtypes differ, or a sample is there already; the
        message says which.
    """
    if addition.fits == archive.stored.token:
        return
    where = f"append {archive.store.name}"
    mistake = _map_mistake(archive, addition)
    if mistake:
        raise ValidationError(f"{where}: {mistake}")
    has_fill = archive.stored.commit.fill is not None or addition.fill is not None
    blocks = archive.joined.blocks
    places = {tuple(row): number for number, row in enumerate(archive.joined.keys.values.tolist())}
    each = zip(addition.keys.values, addition.metadata, addition.dtypes, strict=True)
    for row, metadata, dtype in each if blocks else ():
        key = row_text(addition.keys.names, row)
        number = places.get(tuple(row.tolist()))
        mistake = _common_mistake(blocks[number or 0], metadata, dtype)
        if not mistake and number is not None:
            mistake = _labels_mistake(blocks[number], metadata, has_fill=has_fill)
        if mistake:
            raise ValidationError(f"{where}: block {key} {mistake}")
        if number is not None:
            _require_other_samples(f"{where}: ", key, blocks[number], metadata.samples)
    addition.fits = archive.stored.token


def _map_mistake(archive: OpenArchive, addition: Addition) -> str:
    """What is wrong with a map as a whole; "" if nothing is."""
    commit, names = archive.stored.commit, archive.joined.keys.names
    if commit.kind != "map":
        return f"it holds {commit.kind}, and only maps are appended to; save it as a map of one block"
    if addition.keys.names != names:
        return (
            f"its keys have names {names}, and those of the map {addition.keys.names}; rename the "
            "dimensions, or write another archive"
        )
    for key, text in addition.info.items():
        if commit.info.get(key, text) != text:
            return (
                f"its info {key!r} is {commit.info[key]!r}, and that of the map {text!r}; set it on the map "
                "to what is right for both"
            )
    is_other_fill = addition.fill is not None and fill_to_json(addition.fill) != fill_to_json(commit.fill)
    if commit.fill is not None and is_other_fill:
        return f"what a map lacks is filled with {commit.fill} there, and not with {addition.fill}"
    return ""


def _common_mistake(block: JoinedBlock, metadata: BlockMetadata, dtype: np.dtype[Any]) -> str:
    """What all blocks of a map have in common, and this one has not."""
    segment = block.segments[block.parts[0][0]].spec
    if block.outline.dtype != dtype.newbyteorder("<"):
        return (
            f"has dtype {dtype}, and the archive {block.outline.dtype}; convert the map with "
            f".to(dtype={str(block.outline.dtype)!r})"
        )
    theirs = {path for path, _ in block.first.walk()}
    ours = {path for path, _ in metadata.walk()}
    if theirs != ours:
        return f"has the gradients {_paths_text(ours)}, and the archive {_paths_text(theirs)}"
    for path, spec in block.first.walk():
        own = metadata.at(path)
        where = f"gradient {'/'.join(path)!r} of it " if path else ""
        pairs = [("samples", own.samples, spec.samples), ("properties", own.properties, spec.properties)]
        for kind, labels, table in pairs:
            names = list(segment.tables[table].names)
            if labels.names != names:
                return f"{where}has {kind} of {labels.names}, and the archive of {names}"
        names = [segment.tables[number].names[0] for number in spec.components]
        own_names = [component.names[0] for component in own.components]
        if own_names != names:
            return f"{where}has components {own_names}, and the archive {names}"
    return ""


def _paths_text(paths: set[tuple[str, ...]]) -> str:
    return str(sorted("/".join(path) for path in paths if path))


def _labels_mistake(block: JoinedBlock, metadata: BlockMetadata, *, has_fill: bool) -> str:
    """Labels that blocks of one key have in common."""
    segment = block.segments[block.parts[0][0]].spec
    for path, spec in block.first.walk():
        for own, number in zip(metadata.at(path).components, spec.components, strict=True):
            table = segment.tables[number]
            if own.digest != table.digest:
                sizes = f"({len(own)}, there are {table.rows})"
                return f"has other components {own.names[0]!r} than the archive {sizes}"
    if has_fill:
        return ""
    table = segment.tables[block.first.properties]
    if block.properties is None and metadata.properties.digest == table.digest:
        return ""
    count = len(block.properties) if block.properties is not None else table.rows
    return (
        f"has other properties than the archive ({len(metadata.properties)}, there are {count}); "
        "pass fill_value to fill what one of them does not have"
    )


# ---- samples that are there already ----
def _require_other_samples(where: str, key: str, block: JoinedBlock, samples: Labels) -> None:
    found = common_sample(block, samples)
    if found is not None:
        row, sample = found
        raise ValidationError(
            f"{where}sample {row_text(samples.names, sample)} of block {key} is there already, as row {row}; "
            f"nothing was appended{_shift_advice(block, samples.names)}"
        )


def _shift_advice(block: JoinedBlock, names: Sequence[str]) -> str:
    """If systems are counted from 0 in each map, say by how much to shift them."""
    column = system_column(names)
    bounds = [block.segments[number].spec.tables[spec.samples].bounds for number, spec in block.parts]
    if any(each is None for each in bounds):
        return ""
    largest = max(each[column][1] for each in bounds if each is not None)
    return (
        f"; if {names[column]!r} is counted from 0 in each map, pass "
        f"shift={{{names[column]!r}: {largest + 1}}}, since the largest is {largest}"
    )
