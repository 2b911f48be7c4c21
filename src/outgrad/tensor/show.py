"""How blocks and maps are printed, as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks
from outgrad.labels.display import counted, html_row, html_table
from outgrad.labels.labels import Labels
from outgrad.units import format_bytes

MAX_KEYS = 20
"""Blocks that are shown of a map: a screen of them."""


def _title(path: tuple[str, ...]) -> str:
    return f"Gradient TensorBlock ('{'/'.join(path)}')" if path else "TensorBlock"


def block_text(metadata: BlockMetadata, path: tuple[str, ...]) -> str:
    """The tutorial's form: what each axis is, with its length."""
    lengths = ", ".join(str(len(component)) for component in metadata.components)
    return "\n".join(
        [
            _title(path),
            f"    samples ({len(metadata.samples)}): {metadata.samples.names}",
            f"    components ({lengths}): {[name for c in metadata.components for name in c.names]}",
            f"    properties ({len(metadata.properties)}): {metadata.properties.names}",
            f"    gradients: {list(metadata.gradients) or None}",
        ]
    )


def named(metadata: BlockMetadata) -> str:
    """Describe a block without a key: by its first sample, unless that has to be read from a file."""
    samples = metadata.samples
    first = f", the first {samples.entry(0).print()}" if len(samples) and not samples.is_stored else ""
    return f"the block of {counted(len(samples), 'sample')} {samples.names}{first}"


def map_text(keys: Labels, max_keys: int) -> str:
    """Number of blocks and table of keys."""
    return f"TensorMap with {counted(len(keys), 'block')}\nkeys:" + keys.print(max_keys, indent=5)


def block_html(
    metadata: BlockMetadata,
    path: tuple[str, ...],
    nbytes: int,
    dtype: np.dtype[Any],
    chunks: Sequence[int] | None,
) -> str:
    """A table of the axes, and of sizes and chunks."""
    rows = [
        ("samples", _axis(metadata.samples)),
        *(("component", _axis(component)) for component in metadata.components),
        ("properties", _axis(metadata.properties)),
        ("values", f"{metadata.shape} {dtype}"),
        ("size", f"{format_bytes(nbytes)} with gradients" if metadata.gradients else format_bytes(nbytes)),
        ("chunks", chunks_text(chunks)),
    ]
    for parameter, gradient in metadata.gradients.items():
        # The last components of a gradient are those of the values, which have their rows above.
        extra = gradient.components[: len(gradient.components) - len(metadata.components)]
        names = ", ".join(name for component in extra for name in component.names)
        rows.append((f"gradient {parameter}", f"{gradient.shape} {names}"))
    return html_table(_title(path), [], [html_row(row, headers=1) for row in rows])


def chunks_text(chunks: Sequence[int] | None) -> str:
    """Say how samples are chunked, or that they are in memory."""
    if chunks is None:
        return "in memory (NumPy)"
    return counted(len(chunks), "chunk") + _sizes(chunks) + " (Dask)"


def _sizes(chunks: Sequence[int]) -> str:
    """Sizes of chunks, where there is more than one; the size of one is seen in the shape."""
    if len(chunks) == 1:
        return ""
    least, most = min(chunks), max(chunks)
    return f" of {counted(most, 'sample') if least == most else f'{least} to {most} samples'}"


def map_html(keys: Labels, blocks: Blocks, info: dict[str, str]) -> str:
    """A table of the blocks with their shapes, sizes and chunks."""
    data = blocks.to_compute
    storage = "in memory (NumPy)" if data is None else f"{counted(len(data.parts), 'task')} (Dask)"
    notes = [
        f"{format_bytes(blocks.nbytes)}, {storage}",
        *(f"{key}: {value}" for key, value in sorted(info.items())),
    ]
    head = [*keys.names, "values", "gradients", "size", *([] if data is None else ["chunks"])]
    rows = [html_row(head, headers=len(head))]
    for number, metadata in enumerate(blocks.metadata[:MAX_KEYS]):
        gradients = [f"{parameter} {gradient.shape}" for parameter, gradient in metadata.gradients.items()]
        nbytes = sum(int(np.prod(m.shape)) for _, m in metadata.walk()) * blocks.dtype(number).itemsize
        outline = blocks.outline(number)
        chunks = () if outline is None else outline.chunk_rows
        cells = [
            *keys.entry(number).values,
            metadata.shape,
            "\n".join(gradients),
            format_bytes(nbytes),
            *([f"{len(chunks)}{_sizes(chunks)}"] if chunks else []),
        ]
        rows.append(html_row(cells))
    if len(keys) > MAX_KEYS:
        rows.append(html_row([f"… {counted(len(keys) - MAX_KEYS, 'more block')}"], span=len(head)))
    return html_table(f"TensorMap with {counted(len(keys), 'block')}", notes, rows)


def _axis(labels: Labels) -> str:
    return f"{len(labels)} × {', '.join(labels.names)}"
