"""Print summaries and descriptions; plain text when the output is not a terminal."""

from __future__ import annotations

import json
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


def print_history(versions: Sequence[Any]) -> None:
    """Print the versions of an archive as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("version", justify="right")
    table.add_column("made (UTC)")
    for name in ("action", "samples", "added", "segments"):
        table.add_column(name, justify="left" if name == "action" else "right")
    for name in ("by", "with", "provenance"):
        table.add_column(name)
    for each in versions:
        provenance = json.dumps(each.provenance) if each.provenance else "-"
        if each.action == "compact" and "versions" in each.provenance:
            provenance = f"of {len(each.provenance['versions'])} versions"
        table.add_row(
            str(each.version),
            each.created.replace("T", " ").rstrip("Z"),
            each.action,
            str(each.samples),
            format_bytes(each.nbytes),
            str(each.segments),
            each.who or "-",
            each.software,
            provenance,
        )
    console().print(table)


def print_description(description: dict[str, Any]) -> None:
    """Print what :func:`outgrad.run.describe.describe` returns."""
    lines = [("path", description["path"]), ("kind", description["kind"])]
    if description["kind"] == "labels":
        lines += [("names", ", ".join(description["names"])), ("rows", str(description["rows"]))]
    else:
        size = format_bytes(description["bytes"])
        lines += [("blocks", str(len(description["blocks"]))), ("size", size)]
    lines.append(("on disk", format_bytes(description["bytes_on_disk"])))
    if versions := description.get("versions"):
        lines += [(f"{name} version", str(versions[name])) for name in ("format", "archive")]
        lines += [(name, versions[name]) for name in ("created", "software")]
    print_pairs(lines + [(f"info {key}", text) for key, text in description.get("info", {}).items()])
    if "blocks" in description:
        console().print()
        console().print(_blocks_table(description))
        count = len(description["blocks"]) - MAXIMUM_BLOCKS
        if count > 0:
            console().print(f"… and {count} more blocks; --json lists them all")


def _blocks_table(description: dict[str, Any]) -> Table:
    keys = description.get("keys", {"names": [], "values": [[]]})
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in keys["names"]:
        table.add_column(name, justify="right")
    for name in ("samples", "components", "properties", "dtype", "gradients", "size", "chunks"):
        table.add_column(name)
    for key, block in zip(keys["values"][:MAXIMUM_BLOCKS], description["blocks"], strict=False):
        samples, *components, properties = block["shape"]
        named = zip(components, block["components"], strict=True)
        count = len(block["chunk_rows"])
        largest = format_bytes(block["largest_chunk_bytes"])
        table.add_row(
            *map(str, key),
            f"{samples} ({', '.join(block['samples'])})",
            ", ".join(f"{size} ({name})" for size, name in named) or "-",
            f"{properties} ({', '.join(block['properties'])})",
            block["dtype"],
            gradients_text(block["gradients"]) or "-",
            format_bytes(block["bytes"]),
            f"{count}, largest {largest}" if count > 1 else "1",
        )
    return table


def gradients_text(gradients: Mapping[str, Any]) -> str:
    """Gradients in one cell of a table: ``positions (4, 3, 8)``, nested ones in brackets."""
    return ", ".join(
        f"{name} {tuple(gradient['shape'])}"
        + (f" [{gradients_text(gradient['gradients'])}]" if gradient["gradients"] else "")
        for name, gradient in gradients.items()
    )
