"""Archives whose checksums are all right and whose labels lie: the right result, or an error that says so.

Each lie is told in every table, column or row that it can be told of. A result is right if it is that of the
archive before, or that of what the archive says now, where this does not contradict itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.errors import ArchiveError, DamagedArchiveError
from tests.support.forging import Forgery, content, own_arrays, shared_arrays


@pytest.fixture(scope="module")
def originals(tmp_path_factory: Any) -> Path:
    """The same kind of map in shared arrays, and in arrays of its own with several chunks and edges."""
    folder = tmp_path_factory.mktemp("originals")
    shared_arrays(folder / "shared.zarr")
    own_arrays(folder / "own.zarr")
    return folder


OPERATIONS = {
    "load": og.load,
    "load pieces": lambda path: opened(path).compute(),
    "sum": lambda path: og.sum_over_samples(opened(path), "atom").compute(),
    "keys": lambda path: opened(path).keys_to_properties("order").compute(),
    "multiply": lambda path: og.multiply(opened(path), 2.0).compute(),
    "save": lambda path: saved(path),
}


def opened(path: Path) -> og.TensorMap:
    return og.open(path, target_bytes=1)


def saved(path: Path) -> og.TensorMap:
    copy = path.with_name("copy.zarr")
    og.save(copy, opened(path), overwrite=True)
    return og.load(copy)


EXPECTED = {
    "load": lambda tensor: tensor,
    "load pieces": lambda tensor: tensor,
    "sum": lambda tensor: og.sum_over_samples(tensor, "atom"),
    "keys": lambda tensor: tensor.keys_to_properties("order"),
    "multiply": lambda tensor: og.multiply(tensor, 2.0),
    "save": lambda tensor: tensor,
}


# ---- lies -------------------------------------------------------------------------------------------------


def every_block(forgery: Forgery) -> Iterator[tuple[Any, ...]]:
    """Blocks and gradients of the commit, each with its parent."""

    def walk(
        block: dict[str, int | list[Any]], parent: dict[str, int | list[Any]] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        yield block, parent
        for _, below in block.get("gradients", []):
            yield from walk(below, block)

    for block in forgery.segment["blocks"]:
        yield from walk(block)


def gradients(forgery: Forgery) -> list[tuple[Any, ...]]:
    return [(block, parent) for block, parent in every_block(forgery) if parent is not None]


def lies_in_tables(forgery: Forgery) -> Iterator[tuple[Callable[..., Any] | str, ...]]:
    """Rows changed, swapped or repeated: with the old digest, and with that of the new rows."""
    for number in range(len(forgery.segment["tables"])):
        rows = forgery.table(number)
        for name, change in (("number", change_number), ("swap", swap_rows), ("repeat", repeat_row)):
            changed = change(rows)
            for is_signed in (False, True):
                if not np.array_equal(changed, rows) and not (is_signed and name != "repeat"):
                    yield (
                        f"{name} in table {number}, digest {is_signed}",
                        lambda n=number, c=changed, s=is_signed: forgery.write_table(n, c, s),
                    )


def change_number(rows: np.ndarray) -> np.ndarray:
    rows = rows.copy()
    rows[len(rows) // 2, -1] += 1000
    return rows


def swap_rows(rows: np.ndarray) -> np.ndarray:
    rows = rows.copy()
    rows[[0, -1]] = rows[[-1, 0]]
    return rows


def repeat_row(rows: np.ndarray) -> np.ndarray:
    rows = rows.copy()
    rows[-1] = rows[0]
    return rows


def lies_in_samples(forgery: Forgery) -> Iterator[tuple[Callable[..., Any] | str, ...]]:
    """The column ``sample`` of a gradient: outside of its parent, or of another chunk, or only not sorted."""
    for at, (block, parent) in enumerate(gradients(forgery)):
        number = block["samples"]
        rows = forgery.table(number)
        count = forgery.segment["tables"][parent["samples"]][2]
        for row in (0, len(rows) // 2, len(rows) - 1):
            for value in (-1, count, 2**31 - 1, -(2**31), 0, count - 1, int(rows[row, 0]) ^ 1):
                changed = rows.copy()
                changed[row, 0] = value
                if not np.array_equal(changed, rows):
                    yield (
                        f"sample {value} in row {row} of gradient {at}",
                        lambda n=number, c=changed: forgery.write_table(n, c, True),
                    )


def lies_in_offsets(forgery: Forgery) -> Iterator[tuple[Callable[..., Any] | str, ...]]:
    for at, (block, parent) in enumerate(gradients(forgery)):
        array, first = block["offsets"]
        count = forgery.segment["tables"][parent["samples"]][2] + 1
        for row in (0, count // 2, count - 1):
            for by in (-1, 1, 10**12):

                def change(array: int = array, row: int = first + row, by: int = by) -> None:
                    offsets = forgery.read(array).copy()
                    offsets[row] += by
                    forgery.write(array, offsets)

                yield f"offset {row} of gradient {at} by {by}", change


def lies_in_edges(forgery: Forgery) -> Iterator[tuple[Callable[..., Any] | str, ...]]:
    for at, (block, _) in enumerate(every_block(forgery)):
        edges = block.get("edges", [])
        for place in range(1, len(edges) - 1):
            for by in (-2, -1, 1, 2):
                yield (
                    f"edge {place} of array {at} by {by}",
                    lambda b=block, p=place, y=by: b["edges"].__setitem__(p, b["edges"][p] + y),
                )


def lies_in_keys(forgery: Forgery) -> Iterator[tuple[Callable[..., Any] | str, ...]]:
    keys = forgery.segment["keys"]
    number = keys["table"]
    changed = forgery.table(number)
    changed[0, 0] += 1
    yield "keys of the commit", lambda: keys.update(values=changed.tolist())
    yield "keys of the table", lambda: forgery.write_table(number, changed, False)
    yield "keys of the table, digest", lambda: forgery.write_table(number, changed, True)
    yield "keys swapped", lambda: keys["values"].reverse()
    yield (
        "keys of the table and the commit",
        lambda: (
            keys.update(values=changed.tolist()),
            forgery.write_table(number, changed, False),
        ),
    )
    yield "one key less", lambda: keys["values"].pop()


def lies_in_places(forgery: Forgery) -> Iterator[tuple[Callable[..., Any] | str, ...]]:
    """Rows of another block or table, or rows that are nobody's."""
    blocks = [block for block, _ in every_block(forgery)]
    for at, block in enumerate(blocks):
        for by in (-1, 1):
            yield (
                f"values of array {at} by {by} rows",
                lambda b=block, y=by: b["values"].__setitem__(1, b["values"][1] + y),
            )
        for other, against in enumerate(blocks):
            if other > at and block["samples"] != against["samples"]:
                yield (
                    f"values of arrays {at} and {other} swapped",
                    lambda a=block, b=against: swap(a, b, "values"),
                )
                yield (
                    f"samples of arrays {at} and {other} swapped",
                    lambda a=block, b=against: swap(a, b, "samples"),
                )
    tables = forgery.segment["tables"]
    for number, table in enumerate(tables):
        for place in (1, 2):
            for by in (-1, 1):
                yield (
                    f"table {number}, field {place} by {by}",
                    lambda t=table, p=place, y=by: t.__setitem__(p, t[p] + y),
                )
        for other in range(number):
            yield (
                f"digests of tables {other} and {number} swapped",
                lambda a=table, b=tables[other]: swap(a, b, 4),
            )


def swap(
    a: dict[str, int | list[Any]] | list[int | str],
    b: dict[str, int | list[Any]] | list[int | str],
    name: int | str,
) -> None:
    a[name], b[name] = b[name], a[name]


def lies_in_arrays(forgery: Forgery) -> Iterator[tuple[Callable[..., Any] | str, ...]]:
    """More rows than there are, with every checksum; not where a table was stored twice."""
    used = {table[0] for table in forgery.segment["tables"]}
    used |= {
        block[name][0] for block, _ in every_block(forgery) for name in ("values", "offsets") if name in block
    }
    for number in sorted(used):
        array = forgery.segment["arrays"][number]
        for by in (-1, 1):
            yield (
                f"array {number} by {by} rows",
                lambda a=array, y=by: a["shape"].__setitem__(0, a["shape"][0] + y),
            )


LIES = (
    lies_in_tables,
    lies_in_samples,
    lies_in_offsets,
    lies_in_edges,
    lies_in_keys,
    lies_in_places,
    lies_in_arrays,
)


def variants(originals: Path) -> list[tuple[Any, ...]]:
    """Every lie of every kind in both archives, mixed so that a few are of all kinds."""
    found = [
        (original, kind, name)
        for original in ("shared.zarr", "own.zarr")
        for kind in LIES
        for name, _ in kind(Forgery(originals / original))
    ]
    np.random.default_rng(11).shuffle(found)
    return found


def tell(original: Path, path: Path, kind: Callable[..., Any], name: str) -> og.TensorMap | None:
    """Make the archive with one lie; return what it says if that does not contradict itself."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(original, path)
    forgery = Forgery(path)
    dict(kind(forgery))[name]()
    forgery.sign()
    try:
        return forgery.honest()
    except Exception:
        return None


def outcome(call: Callable[..., Any], path: Path, right: list[list[Any]]) -> str:
    try:
        found = content(call(path))  # tables are compared when they are first used
    except DamagedArchiveError:
        return "refused"
    return "right" if found in right else "silent"


def test_forged_archives_give_the_right_result_or_are_refused(
    originals: Path, tmp_path: Path, rounds: Callable[..., Any], tally: Callable[..., Any]
) -> None:
    found = variants(originals)
    assert len(found) > 500, "there are fewer lies than there were"
    right = {
        (original, name): content(expected(og.load(originals / original)))
        for original in ("shared.zarr", "own.zarr")
        for name, expected in EXPECTED.items()
    }
    wrong = []
    for original, kind, lie in found[: rounds(30, len(found))]:
        said = tell(originals / original, tmp_path / "forged.zarr", kind, lie)
        for name, call in OPERATIONS.items():
            allowed = [right[original, name]]
            if said is not None:
                allowed.append(content(EXPECTED[name](said)))
            result = outcome(call, tmp_path / "forged.zarr", allowed)
            tally(result)
            if result == "silent":
                wrong.append((original, lie, name))
        try:
            problems = og.verify(tmp_path / "forged.zarr")
        except ArchiveError as error:
            problems = [str(error)]
        tally("reported" if problems else "not reported")
        if not problems and (said is None or content(said) == right[original, "load"]):
            wrong.append((original, lie, "verify"))
    assert not wrong
