"""Outgrad and its peers side by side: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.groups import GROUPS
from benchmarks.machine import limits
from benchmarks.table import as_json, as_text, run


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure groups, each in a process of its own, and print one table."""
    options = _options(arguments)
    if options.child is not None:
        _measure(options)
        return
    found: dict[str, Any] = {"limits": limits(min(options.scale, 1.0), options.scratch), "rows": []}
    print("\n".join(f"{name}: {value:.2f}" for name, value in found["limits"].items()), flush=True)
    for name in options.groups or GROUPS:
        rows = _in_a_process(name, options)
        print(as_text(rows), flush=True)
        found["rows"] += rows
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", help=f"some of {', '.join(GROUPS)}; by default all")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data; 1 is that of the targets")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each way, in turns")
    parser.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir()), help="where files are written"
    )
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    unknown = [name for name in options.groups if name not in GROUPS]
    if unknown:
        parser.error(f"there is no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    return options


def _in_a_process(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks", "--child", name, "--json", str(out)]
        command += ["--scale", str(options.scale), "--repeats", str(options.repeats), "--scratch", folder]
        subprocess.run(command, check=True)
        rows: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
    return rows


def _measure(options: argparse.Namespace) -> None:
    rows = [
        row
        for benchmark in GROUPS[options.child](options.scale, options.scratch)
        for row in run(benchmark, options.repeats)
    ]
    options.json.write_text(json.dumps(as_json(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
