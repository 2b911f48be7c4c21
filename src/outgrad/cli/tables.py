"""Print summaries and descriptions; plain text when the output is no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from outgrad.cli.console import console
from outgrad.units import format_bytes

MAXIMUM_BLOCKS = 50


def print_pairs(lines: Sequence[tuple[str, str]]) -> None:
    """Print names and texts in two columns."""
    table = Table.grid(padding=(0, 2))
    for name, text in lines:
        table.add_row(name, text)
    console().print(table)


def print_description(found: dict[str, Any]) -> None:
    """Print what ``outgrad.run.describe`` gives."""
    print_pairs(_head(found))
    if "blocks" in found:
        console().print()
        console().print(_blocks_table(found))
        left = len(found["blocks"]) - MAXIMUM_BLOCKS
        if left > 0:
            console().print(f"… and {left} more blocks; --json tells all")


def _head(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("path", found["path"]), ("kind", found["kind"])]
    if found["kind"] == "labels":
        lines += [("names", ", ".join(found["names"])), ("rows", str(found["rows"]))]
    else:
        lines += [("blocks", str(len(found["blocks"]))), ("size", format_bytes(found["bytes"]))]
    lines.append(("on disk", format_bytes(found["bytes_on_disk"])))
    versions = found.get("versions", {})
    lines += [(f"{name} version", str(versions[name])) for name in ("format", "archive") if versions]
    lines += [(name, versions[name]) for name in ("created", "software") if versions]
    return lines + [(f"info {key}", text) for key, text in found.get("info", {}).items()]


def _blocks_table(found: dict[str, Any]) -> Table:
    keys = found.get("keys", {"names": [], "values": [[]]})
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in keys["names"]:
        table.add_column(name, justify="right")
    for name in ("samples", "components", "properties", "dtype", "gradients", "size", "chunks"):
        table.add_column(name)
    for key, block in zip(keys["values"][:MAXIMUM_BLOCKS], found["blocks"], strict=False):
        table.add_row(*map(str, key), *_block_cells(block))
    return table


def _block_cells(block: dict[str, Any]) -> list[str]:
    rows, *components, properties = block["shape"]
    count = len(block["chunk_rows"])
    largest = format_bytes(block["largest_chunk_bytes"])
    return [
        f"{rows} ({', '.join(block['samples'])})",
        ", ".join(f"{n} ({name})" for n, name in zip(components, block["components"], strict=True)) or "-",
        f"{properties} ({', '.join(block['properties'])})",
        block["dtype"],
        gradients_text(block["gradients"]) or "-",
        format_bytes(block["bytes"]),
        f"{count}, largest {largest}" if count > 1 else "1",
    ]


def gradients_text(gradients: Mapping[str, Any]) -> str:
    """Gradients in one cell of a table: ``positions (4, 3, 8)``, nested ones in brackets."""
    return ", ".join(
        f"{name} {tuple(gradient['shape'])}"
        + (f" [{gradients_text(gradient['gradients'])}]" if gradient["gradients"] else "")
        for name, gradient in gradients.items()
    )
