"""How blocks and maps are printed, as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks
from outgrad.labels.labels import Labels
from outgrad.units import format_bytes

MAX_KEYS = 20
STYLE = "text-align:left;vertical-align:top;white-space:nowrap;padding:0.2em 0.8em 0.2em 0"


def block_text(metadata: BlockMetadata, path: tuple[str, ...]) -> str:
    """The tutorial's form: what each axis is, with its length."""
    head = f"Gradient TensorBlock ('{'/'.join(path)}')" if path else "TensorBlock"
    lengths = ", ".join(str(len(component)) for component in metadata.components)
    return "\n".join(
        [
            head,
            f"    samples ({len(metadata.samples)}): {metadata.samples.names}",
            f"    components ({lengths}): {[name for c in metadata.components for name in c.names]}",
            f"    properties ({len(metadata.properties)}): {metadata.properties.names}",
            f"    gradients: {list(metadata.gradients) or None}",
        ]
    )


def named(metadata: BlockMetadata) -> str:
    """Tell a block without a key from others: by its first sample, unless that has to be read from a file."""
    samples = metadata.samples
    first = f", the first {samples.entry(0).print()}" if len(samples) and not samples.is_stored else ""
    return f"the block of {_count(len(samples), 'sample')} {samples.names}{first}"


def map_text(keys: Labels, max_keys: int) -> str:
    """Number of blocks and table of keys."""
    return f"TensorMap with {_count(len(keys), 'block')}\nkeys:" + keys.print(max_keys, indent=5)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def block_html(
    metadata: BlockMetadata,
    path: tuple[str, ...],
    nbytes: int,
    dtype: np.dtype[Any],
    chunks: Sequence[int] | None,
) -> str:
    """A table of the axes, and of sizes and chunks."""
    title = f"Gradient TensorBlock <code>{escape('/'.join(path))}</code>" if path else "TensorBlock"
    rows = [
        ("samples", _axis(metadata.samples)),
        *(("component", _axis(component)) for component in metadata.components),
        ("properties", _axis(metadata.properties)),
        ("values", f"{escape(str(metadata.shape))} {escape(str(dtype))}"),
        ("size", f"{format_bytes(nbytes)} with gradients" if metadata.gradients else format_bytes(nbytes)),
        ("chunks", chunks_text(chunks)),
    ]
    for name, gradient in metadata.gradients.items():
        own = [name_ for c in gradient.components[: _own_count(metadata, gradient)] for name_ in c.names]
        rows.append((f"gradient {escape(name)}", f"{escape(str(gradient.shape))} {escape(', '.join(own))}"))
    return _table(title, rows)


def _own_count(metadata: BlockMetadata, gradient: BlockMetadata) -> int:
    return len(gradient.components) - len(metadata.components)


def chunks_text(chunks: Sequence[int] | None) -> str:
    """Say how samples are chunked, or that they are in memory."""
    if chunks is None:
        return "in memory (NumPy)"
    return _count(len(chunks), "chunk") + _sizes(chunks) + " (Dask)"


def _sizes(chunks: Sequence[int]) -> str:
    """Sizes of chunks, where there is more than one; the size of one is seen in the shape."""
    if len(chunks) == 1:
        return ""
    least, most = min(chunks), max(chunks)
    return f" of {_count(most, 'sample') if least == most else f'{least} to {most} samples'}"


def map_html(keys: Labels, blocks: Blocks, info: dict[str, str]) -> str:
    """A table of the blocks with their shapes, sizes and chunks."""
    data = blocks.to_compute
    place = "in memory (NumPy)" if data is None else f"{_count(len(data.parts), 'task')} (Dask)"
    title = f"TensorMap with {_count(len(keys), 'block')}"
    head = [*keys.names, "values", "gradients", "size", *([] if data is None else ["chunks"])]
    body = [_map_row(keys, blocks, number) for number in _shown(len(keys))]
    cells = "".join(f"<th style='{STYLE}'>{escape(name)}</th>" for name in head)
    more = len(keys) - len(body)
    tail = (
        f"<tr><td colspan='{len(head)}' style='{STYLE}'>… {_count(more, 'more block')}</td></tr>"
        if more
        else ""
    )
    notes = f"<p>{format_bytes(blocks.nbytes)}, {place}{_info(info)}</p>"
    return f"<div><b>{title}</b>{notes}<table><tr>{cells}</tr>{''.join(body)}{tail}</table></div>"


def _shown(count: int) -> range:
    return range(min(count, MAX_KEYS))


def _info(info: dict[str, str]) -> str:
    return "".join(f"<br>{escape(key)}: {escape(value)}" for key, value in sorted(info.items()))


def _map_row(keys: Labels, blocks: Blocks, number: int) -> str:
    metadata = blocks.metadata[number]
    nbytes = sum(int(np.prod(m.shape)) for _, m in metadata.walk()) * blocks.dtype(number).itemsize
    outline = blocks.outline(number)
    chunks = () if outline is None else outline.chunk_rows
    cells = [
        *(str(value) for value in keys.entry(number).values),
        str(metadata.shape),
        "\n".join(f"{name} {gradient.shape}" for name, gradient in metadata.gradients.items()),
        format_bytes(nbytes),
        *([f"{len(chunks)}{_sizes(chunks)}"] if chunks else []),
    ]
    shown = [escape(cell).replace("\n", "<br>") for cell in cells]
    return "<tr>" + "".join(f"<td style='{STYLE}'>{cell}</td>" for cell in shown) + "</tr>"


def _axis(labels: Labels) -> str:
    return f"{len(labels)} × {escape(', '.join(labels.names))}"


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    lines = "".join(
        f"<tr><th style='{STYLE}'>{name}</th><td style='{STYLE}'>{text}</td></tr>" for name, text in rows
    )
    return f"<div><b>{title}</b><table>{lines}</table></div>"
