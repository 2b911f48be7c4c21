"""Read an Outgrad archive without Outgrad: with json, numpy and zarr alone, as docs/format.md specifies it.

    python plain_reader.py soap.zarr [VERSION]

It reads everything into memory, and checks what Zarr checks. ``read(path)`` returns a dict of the keys and
the blocks; a block has ``values``, ``samples``, ``components``, ``properties`` and ``gradients``, and labels
are pairs of names and numbers.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import zarr

SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def load(file: Path) -> Any:
    """The content of a commit, or of a list of segments."""
    return json.loads(file.read_text())["commit"]


def number(fill: Any) -> Any:
    """A number as commits write it."""
    if isinstance(fill, list):
        return complex(*map(number, fill))
    return SPECIAL.get(fill, fill) if isinstance(fill, str) else fill


class Segment:
    """One segment: its arrays by number, its tables, and its blocks."""

    def __init__(self, archive: Path, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.home = archive / spec.get("archive", ".") if spec.get("archive") else archive
        self.group = zarr.open_group(self.home, mode="r")[f"segments/{spec['id']}"]
        self.archive = archive

    def rows(self, place: list[int], count: int) -> np.ndarray:
        """Rows of an array, from a first row on."""
        array, first = place
        spec = self.spec["arrays"][array]
        if spec.get("pieces"):
            return self.outside(spec)[first : first + count]
        return np.asarray(self.group[spec["path"]][first : first + count])

    def outside(self, spec: dict[str, Any]) -> np.ndarray:
        """An array whose rows are in other files: pieces of bytes, one after the other."""
        files = self.spec["files"]
        paths, _, pieces = (
            self.group[self.spec["arrays"][files[name]]["path"]][:] for name in ("paths", "files", "pieces")
        )
        names = bytes(paths).split(b"\0")
        first, length = spec["pieces"]
        out = [np.empty((0, *spec["shape"][1:]), spec["dtype"])]
        for _, file, offset, member, member_bytes, _ in pieces[first : first + length].tolist():
            with (self.archive / files["root"] / names[file].decode()).open("rb") as stream:
                stream.seek(offset)
                raw = stream.read(member + member_bytes - offset)
            out.append(np.frombuffer(raw, spec["dtype"]).reshape(-1, *spec["shape"][1:]))
        return np.concatenate(out)

    def labels(self, table: int) -> tuple[list[str], np.ndarray]:
        """A table of labels: the names of its columns, and its rows."""
        array, first, count, names, *_ = self.spec["tables"][table]
        return self.spec["names"][names], self.rows([array, first], count)

    def block(self, spec: dict[str, Any], properties: int | None = None) -> dict[str, Any]:
        """A block or a gradient, which has the properties of its parent."""
        properties = spec.get("properties", properties)
        samples = self.labels(spec["samples"])
        return {
            "values": self.rows(spec["values"], len(samples[1])),
            "samples": samples,
            "components": [self.labels(each) for each in spec.get("components") or []],
            "properties": self.labels(properties),
            "gradients": {name: self.block(below, properties) for name, below in spec.get("gradients") or []},
        }


def joined(parts: list[dict[str, Any]], fill: Any) -> dict[str, Any]:
    """Parts of a block, one after the other; properties that a part lacks are filled."""
    rows = [tuple(row) for part in parts for row in part["properties"][1].tolist()]
    union = list(dict.fromkeys(rows))
    values = []
    for part in parts:
        columns = [union.index(tuple(row)) for row in part["properties"][1].tolist()]
        wide = part["values"]
        if columns != list(range(len(union))):
            wide = np.full((*wide.shape[:-1], len(union)), fill, wide.dtype)
            wide[..., columns] = part["values"]
        values.append(wide)
    starts = np.cumsum([0, *(len(part["values"]) for part in parts)]).tolist()
    gradients = {}
    for name in parts[0]["gradients"]:
        below = [dict(part["gradients"][name]) for part in parts]
        for gradient, start in zip(below, starts, strict=False):
            names, table = gradient["samples"]
            table = table.copy()
            table[:, 0] += start  # "sample" counts rows of the part
            gradient["samples"] = names, table
        gradients[name] = joined(below, fill)
    names = parts[0]["properties"][0]
    return {
        "values": np.concatenate(values),
        "samples": (parts[0]["samples"][0], np.concatenate([part["samples"][1] for part in parts])),
        "components": parts[0]["components"],
        "properties": (names, np.array(union, np.int32).reshape(len(union), len(names))),
        "gradients": gradients,
    }


def read(path: str | Path, version: int | None = None) -> dict[str, Any]:
    """Read a version of an archive, by default the newest."""
    archive = Path(path)
    name = "[0-9]" * 10 if version is None else f"{version:010d}"
    commit = load(max(archive.glob(f"commits/{name}.json")))
    listed = [load(archive / "commits" / f"{each['id']}.json") for each in commit.get("lists", [])]
    specs = [spec for each in [*listed, commit] for spec in each["segments"]]
    segments = [Segment(archive, spec) for spec in specs]
    parts: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    names: list[str] = []
    for segment in segments:
        names, keys = segment.labels(segment.spec["keys"]["table"])
        if commit["kind"] == "labels":
            return {"kind": "labels", "keys": (names, keys), "blocks": []}
        for key, spec in zip(keys.tolist(), segment.spec["blocks"], strict=True):
            parts.setdefault(tuple(key), []).append(segment.block(spec))
    return {
        "kind": commit["kind"],
        "info": commit["info"],
        "keys": (names, np.array(list(parts), np.int32).reshape(len(parts), len(names))),
        "blocks": [joined(each, number(commit.get("fill"))) for each in parts.values()],
    }


if __name__ == "__main__":
    found = read(sys.argv[1], *map(int, sys.argv[2:]))
    print(found["kind"], *found["keys"][0], sep=" ")
    for key, block in zip(found["keys"][1].tolist(), found["blocks"], strict=False):
        print(key, block["values"].shape, {n: g["values"].shape for n, g in block["gradients"].items()})
