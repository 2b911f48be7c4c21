"""Read bad ``.mts`` files in a process of its own: ``read_mts.py good.mts bytes seconds files…``.

Every way of reading is tried. A line is printed for each file: its name, and what came of it. ``equal`` and
``refused`` are right; ``silent``, ``raw``, ``memory`` and ``slow`` are not, nor is a line that is missing.
"""

from __future__ import annotations

import io
import resource
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import dask
import psutil

import outgrad as og
from outgrad.storage.mts import reader as mts_read
from outgrad.testing import assert_identical

PIECES = {"scheduler": "synchronous", "outgrad.chunk-bytes": "2 KiB"}


class TooSlowError(BaseException):
    """Raised by the alarm; nothing that is tested catches it."""


def in_pieces(path: Path) -> Any:
    with dask.config.set(PIECES):
        return og.open(path).compute()


def some_rows(path: Path) -> Any:
    """The first rows of every block, and only they."""
    with dask.config.set(PIECES):
        found = og.open(path)
        return [block.values[:1].compute() for block in found.blocks()]


WAYS = {
    "load": og.load,
    "open": in_pieces,
    "rows": some_rows,
    "buffer": lambda path: og.io.load_buffer(Path(path).read_bytes()),
    "stream": lambda path: og.load(io.BytesIO(Path(path).read_bytes())),
    "block": og.load_block,
    "labels": og.load_labels,
    "verify": lambda path: None if og.verify(path) == [] else _refuse(),
}


def _refuse() -> None:
    raise og.OutgradError("verify found problems")


def outcome(way: Any, path: Path, good: Any) -> Any:
    try:
        found = WAYS[way](path)
        if way == "rows":
            assert [rows.tobytes() for rows in found] == [
                block.values[:1].tobytes() for block in good.blocks()
            ]
        elif found is not None:
            assert_identical(found, good)
    except og.OutgradError:
        return "refused"
    except AssertionError as error:
        return f"silent {way}: {error}"
    except TooSlowError:
        return f"slow {way}"
    except BaseException as error:
        return f"raw {way}: {type(error).__name__}: {error}"
    return "equal"


def read(path: Path, good: Any) -> Any:
    found = {way: outcome(way, path, good) for way in WAYS}
    wrong = [what for what in found.values() if what not in ("equal", "refused")]
    whole = {way: found[way] for way in ("load", "open", "buffer", "stream", "verify")}
    if not wrong and len(set(whole.values())) > 1:
        wrong = [f"raw: the ways differ: {whole}"]
    return wrong[0] if wrong else found["load"]


def too_slow(number: Any, frame: Any) -> None:
    raise TooSlowError


def main(good_path: Any, spare: Any, seconds: Any, *paths: Any) -> None:
    warnings.simplefilter("ignore")
    mts_read.FINE_BYTES = 1 << 11
    good = og.load(good_path)
    in_pieces(good_path)
    limit = psutil.Process().memory_info().vms + int(spare)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGALRM, too_slow)
    for path in paths:
        signal.alarm(int(seconds))
        print(Path(path).name, " ".join(read(path, good).split()), sep="\t", flush=True)
        signal.alarm(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
