"""Read an Outgrad archive without Outgrad: with json, numpy and zarr alone, as docs/format.md specifies it.

    python plain_reader.py soap.zarr [VERSION]

It reads everything into memory, and checks what Zarr checks, and files that are referred to; these must be
below the folder of the archive. ``read(path)`` returns a dict of the keys and the blocks; a block has
``values``, ``samples``, ``components``, ``properties`` and ``gradients``; labels are names and numbers.
"""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import zarr


def load(file: Path) -> Any:
    """The content of a commit, or of a list of segments."""
    return json.loads(file.read_text())["commit"]


def number(fill: Any) -> Any:
    """A number as commits write it."""
    if isinstance(fill, list):
        return complex(*map(number, fill))
    return float(fill) if isinstance(fill, str) else fill  # "NaN", "Infinity"


def inside(folder: Path, path: Path) -> Path:
    """A path that an archive names, which has to be in a folder, also behind links."""
    if not path.resolve().is_relative_to(folder):
        raise ValueError(f"{path} is not in {folder}, and is not read")
    return path.resolve()


class Segment:
    """One segment: its arrays by number, its tables, and its blocks."""

    def __init__(self, archive: Path, spec: dict[str, Any]) -> None:
        self.spec, self.archive = spec, archive
        home = inside(archive.parent, archive / (spec.get("archive") or "."))
        self.group = zarr.open_group(home / "segments" / spec["id"], mode="r")

    def rows(self, place: list[int], count: int) -> np.ndarray:
        """Rows of an array, from a first row on."""
        spec, first = self.spec["arrays"][place[0]], place[1]
        whole = self.outside(spec) if spec.get("pieces") else self.group[spec["path"]]
        return np.asarray(whole[first : first + count])

    def outside(self, spec: dict[str, Any]) -> np.ndarray:
        """An array whose rows are in other files: pieces of bytes, one after the other."""
        files = self.spec["files"]
        paths, sizes, pieces = (
            self.group[self.spec["arrays"][files[name]]["path"]][:] for name in ("paths", "files", "pieces")
        )
        root = inside(self.archive.parent, self.archive / files["root"])
        first, length = spec["pieces"]
        own = pieces[first : first + length]
        out = [np.empty((0, *spec["shape"][1:]), spec["dtype"])]
        rows = np.diff(own[:, 0], append=spec["shape"][0])
        for (_, file, offset, member, size, crc), count in zip(own.tolist(), rows, strict=True):
            path = inside(root, root / bytes(paths).split(b"\0")[file].decode(errors="surrogateescape"))
            raw = np.memmap(path, np.uint8, "r", member, (size,))
            found = [path.stat().st_size, path.stat().st_mtime_ns, zlib.crc32(raw)]
            if found != [*sizes[file].tolist(), crc]:
                raise ValueError(f"{path} is not what was indexed")
            values = np.frombuffer(raw[offset - member :], spec["dtype"])
            out.append(values.reshape(count, *spec["shape"][1:]))
        return np.concatenate(out).reshape(spec["shape"])

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
    union = list(dict.fromkeys(tuple(row) for part in parts for row in part["properties"][1].tolist()))
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
    archive = Path(path).resolve()
    name = "[0-9]" * 10 if version is None else f"{version:010d}"
    commit = load(max(archive.glob(f"commits/{name}.json")))
    listed = [load(archive / "commits" / f"{each['id']}.json") for each in commit.get("lists", [])]
    segments = [Segment(archive, spec) for each in [*listed, commit] for spec in each["segments"]]
    parts: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for segment in segments:
        names, keys = segment.labels(segment.spec["keys"]["table"])
        for row, key in enumerate(keys.tolist()):  # labels are keys without blocks
            found = parts.setdefault(tuple(key), [])
            found.extend(segment.block(spec) for spec in segment.spec["blocks"][row : row + 1])
    return {
        "kind": commit["kind"],
        "info": commit["info"],
        "keys": (names, np.array(list(parts), np.int32).reshape(len(parts), len(names))),
        "blocks": [joined(each, number(commit.get("fill"))) for each in parts.values() if each],
    }


if __name__ == "__main__":
    found = read(sys.argv[1], *map(int, sys.argv[2:]))
    print(found["kind"], *found["keys"][0])
    for key, block in zip(found["keys"][1].tolist(), found["blocks"], strict=False):
        print(key, block["values"].shape, {n: g["values"].shape for n, g in block["gradients"].items()})
