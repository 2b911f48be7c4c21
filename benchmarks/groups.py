"""The benchmarks, in groups: each group makes its data once, in a process of its own."""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import metatensor
import numpy as np

import outgrad as og
from benchmarks.data import BlockArrays, block_arrays, both, make_map
from benchmarks.peers import copy_by_chunks, square_by_hand, write_plain
from benchmarks.table import OURS, Benchmark, Group

PEER = "metatensor"
BY_HAND = "dask.array and zarr by hand"
COPY = "copying through the codec"


def _count(number: float) -> int:
    return max(2, round(number))


def large_blocks(scale: float, seed: int = 0) -> list[BlockArrays]:
    """Four blocks, together 0.8 GB of gradients at scale 1."""
    rng = np.random.default_rng(seed)
    return [block_arrays(rng, _count(130 * scale), 8, 40, 200) for _ in range(4)]


def elementwise(scale: float, scratch: Path) -> Sequence[Benchmark]:
    """multiply, divide, pow and add of NumPy data."""
    first, second = both(large_blocks(scale)), both(large_blocks(scale, 1))
    ours, theirs = (first[0], second[0]), (first[1], second[1])
    nbytes = ours[0].nbytes
    return [
        *(
            Benchmark(
                f"{name}, in memory",
                {
                    OURS: lambda name=name: getattr(og, name)(*ours),
                    PEER: lambda name=name: getattr(metatensor, name)(*theirs),
                },
                {PEER: target},
                result_bytes=nbytes,
            )
            for name, target in (("multiply", 0.35), ("divide", 0.35), ("add", 1.0))
        ),
        Benchmark(
            "pow 3, in memory",
            {OURS: lambda: og.pow(ours[0], 3), PEER: lambda: metatensor.pow(theirs[0], 3)},
            {PEER: 0.4},
            result_bytes=nbytes,
        ),
    ]


def lazy_elementwise(scale: float, scratch: Path) -> Sequence[Benchmark]:
    """The same with Dask's threads, on persisted operands."""
    first, second = both(large_blocks(scale)), both(large_blocks(scale, 1))
    a, b = first[0].chunk().persist(), second[0].chunk().persist()
    theirs = (first[1], second[1])
    nbytes = a.nbytes
    return [
        *(
            Benchmark(
                f"{name}, on threads",
                {
                    OURS: lambda name=name: getattr(og, name)(a, b).persist(),
                    PEER: lambda name=name: getattr(metatensor, name)(*theirs),
                },
                {PEER: target},
                result_bytes=nbytes,
            )
            for name, target in (("multiply", 0.35), ("divide", 0.35), ("add", 1.1))
        ),
        Benchmark(
            "pow 3, on threads",
            {OURS: lambda: og.pow(a, 3).persist(), PEER: lambda: metatensor.pow(theirs[0], 3)},
            {PEER: 0.4},
            result_bytes=nbytes,
        ),
    ]


def reductions(scale: float, scratch: Path) -> Sequence[Benchmark]:
    """sum, mean, var and std over atoms with 500,000 gradient rows."""
    rng = np.random.default_rng(0)
    arrays = [block_arrays(rng, _count(1250 * scale), 20, 20, 16)]
    ours, theirs = both(arrays)
    return [
        Benchmark(
            f"{kind} over samples",
            {
                OURS: lambda kind=kind: getattr(og, f"{kind}_over_samples")(ours, "atom"),
                PEER: lambda kind=kind: getattr(metatensor, f"{kind}_over_samples")(theirs, ["atom"]),
            },
            {PEER: target},
        )
        for kind, target in (("sum", 0.2), ("mean", 0.2), ("var", 0.1), ("std", 0.1))
    ]


def movements(scale: float, scratch: Path) -> Sequence[Benchmark]:
    """Keys, join, sort, slice and split_by."""
    rng = np.random.default_rng(0)
    systems = _count(1000 * scale)
    arrays = [block_arrays(rng, systems, 10, 12, 16) for _ in range(4)]
    shifted = [block_arrays(rng, systems, 10, 12, 16, first=systems) for _ in range(4)]
    ours, theirs = both(arrays)
    others = both(shifted)
    shuffled = og.slice(ours, "samples", rng.permutation(systems * 10))
    shuffled_theirs = og.to_metatensor(shuffled)
    some = np.arange(0, systems, 3).reshape(-1, 1)
    chosen = og.Labels(["system"], some), metatensor.Labels(["system"], some)
    single = [metatensor.Labels(["system"], np.array([[s]])) for s in range(systems)]
    return [
        *(
            _pair(
                name,
                lambda name=name: getattr(ours, name)("neighbor_type"),
                lambda name=name: getattr(theirs, name)("neighbor_type"),
            )
            for name in ("keys_to_properties", "keys_to_samples")
        ),
        _pair(
            "join samples",
            lambda: og.join([ours, others[0]], "samples"),
            lambda: metatensor.join([theirs, others[1]], "samples"),
        ),
        _pair(
            "sort samples",
            lambda: og.sort(shuffled, "samples"),
            lambda: metatensor.sort(shuffled_theirs, "samples"),
        ),
        _pair(
            "slice samples",
            lambda: og.slice(ours, "samples", chosen[0]),
            lambda: metatensor.slice(theirs, "samples", chosen[1]),
        ),
        _pair(
            f"split_by of {systems} systems",
            lambda: og.split_by(ours, "system"),
            lambda: metatensor.split(theirs, "samples", single),
            0.02,
        ),
    ]


def _pair(name: str, ours: Any, theirs: Any, target: float = 0.5) -> Benchmark:
    return Benchmark(name, {OURS: ours, PEER: theirs}, {PEER: target})


def small_blocks(scale: float, scratch: Path) -> Sequence[Benchmark]:
    """A thousand and five thousand small blocks with gradients."""
    rng = np.random.default_rng(0)
    many = [block_arrays(rng, 2, 3, 4, 8) for _ in range(_count(5000 * scale))]
    few = many[: _count(1000 * scale)]
    ours, theirs = both(few)
    lazy, lazy_many = ours.chunk().persist(), make_map(og, many).chunk().persist()
    count, most = len(few), len(many)
    return [
        _pair(
            f"{count} small blocks: multiply",
            lambda: ours * ours,
            lambda: metatensor.multiply(theirs, theirs),
            0.3,
        ),
        _pair(
            f"{count} small blocks: multiply lazily, compute",
            lambda: (lazy * lazy).compute(),
            lambda: metatensor.multiply(theirs, theirs),
            1.0,
        ),
        *(
            Benchmark(
                f"{most} small blocks: {name} lazily",
                {
                    OURS: lambda call=call: call(lazy_many).compute(),
                    f"the same with {count}": lambda call=call: call(lazy).compute(),
                },
                {f"the same with {count}": 1.3 * most / count},
            )
            for name, call in (
                ("add", lambda m: m + m),
                ("sum", lambda m: og.sum_over_samples(m, "atom")),
                ("multiply", lambda m: m * m),
            )
        ),
    ]


def labels(scale: float, scratch: Path) -> Sequence[Benchmark]:
    """Tables of two million rows."""
    rng = np.random.default_rng(0)
    count = _count(2_000_000 * scale)
    table = np.column_stack(
        [np.repeat(np.arange(count // 10 + 1), 10)[:count], np.tile(np.arange(10), count // 10 + 1)[:count]]
    )
    table = np.column_stack([table, rng.integers(0, 90, count)]).astype(np.int32)
    other = table[rng.permutation(count)] + np.array([count // 20, 0, 0], np.int32)
    names = ["system", "atom", "type"]

    def fresh(library: Any, values: Any) -> Any:
        """Labels that nothing was looked up in yet: metatensor keeps an index after the first time."""
        return library.Labels(names, values.copy(), assume_unique=True)

    a, b = fresh(og, table), fresh(metatensor, table)
    wanted = np.arange(0, count // 10, 7).reshape(-1, 1)
    some = [tuple(row) for row in table[:: max(1, count // 1000)].tolist()]
    return [
        _pair(
            "Labels: construct",
            lambda: og.Labels(names, table.copy()),
            lambda: metatensor.Labels(names, table.copy()),
            1.5,
        ),
        _pair(
            "Labels: select",
            lambda: a.select(og.Labels("system", wanted)),
            lambda: b.select(metatensor.Labels("system", wanted)),
            1.5,
        ),
        _pair(
            "Labels: position of 1,000",
            lambda: [a.position(entry) for entry in some],
            lambda: [b.position(entry) for entry in some],
            1.5,
        ),
        *(
            _pair(
                f"Labels: {name}",
                lambda name=name: getattr(fresh(og, table), name)(fresh(og, other)),
                lambda name=name: getattr(fresh(metatensor, table), name)(fresh(metatensor, other)),
                0.15,
            )
            for name in ("union", "intersection", "difference")
        ),
    ]


def archives(scale: float, scratch: Path) -> Sequence[Benchmark]:
    """A set that fits into memory, read, squared and written; and an archive of many small blocks."""
    large = large_blocks(scale / 2)
    ours, theirs = both(large)
    plain = scratch / "plain.zarr"
    write_plain(plain, large)
    og.save(scratch / "large.zarr", ours)
    theirs.save(str(scratch / "large.mts"))
    rng = np.random.default_rng(0)
    small, small_theirs = both([block_arrays(rng, 2, 3, 4, 8) for _ in range(_count(1000 * scale))])
    og.save(scratch / "small.zarr", small)
    small_theirs.save(str(scratch / "small.mts"))
    number = iter(range(10**9))

    def square() -> None:
        tensor = og.open(scratch / "large.zarr")
        og.save(scratch / f"out-{next(number)}.zarr", og.multiply(tensor, tensor))

    def square_theirs(use_numpy: bool) -> None:
        tensor = metatensor.load(str(scratch / "large.mts"), use_numpy=use_numpy)
        metatensor.save(str(scratch / "out.mts"), metatensor.multiply(tensor, tensor), use_numpy=use_numpy)

    return [
        Benchmark(
            "open, multiply, save",
            {
                OURS: square,
                PEER: lambda: square_theirs(False),
                "metatensor, use_numpy=True": lambda: square_theirs(True),
                BY_HAND: lambda: square_by_hand(plain, scratch / f"hand-{next(number)}.zarr"),
                COPY: lambda: copy_by_chunks(plain, scratch / f"copy-{next(number)}.zarr"),
            },
            {PEER: 0.25, BY_HAND: 0.8, COPY: 1.5},
            memory_target=0.1,
        ),
        _pair(
            f"{len(small)} small blocks: open",
            lambda: og.open(scratch / "small.zarr"),
            lambda: metatensor.load(str(scratch / "small.mts")),
            0.3,
        ),
        _pair(
            f"{len(small)} small blocks: load",
            lambda: og.load(scratch / "small.zarr"),
            lambda: metatensor.load(str(scratch / "small.mts")),
            2.0,
        ),
    ]


def graphs(scale: float, scratch: Path) -> Sequence[Benchmark]:
    """A graph of ten thousand chunks; the peer is the budget of two seconds, and of ten megabytes."""
    count = _count(10_000 * scale)
    rng = np.random.default_rng(0)
    tensor = make_map(og, [block_arrays(rng, count, 2, 2, 4)])
    og.save(scratch / "many.zarr", tensor)
    lazy = og.open(scratch / "many.zarr").chunk(target_bytes=tensor.nbytes // count)

    def build() -> None:
        og.sum_over_samples(og.multiply(lazy, lazy), "atom").__dask_graph__()

    size = len(pickle.dumps(dict(og.multiply(lazy, lazy).__dask_graph__())))
    chunks = len(lazy.__dask_keys__())
    name = f"graph of {chunks} chunks, {size / 1e6:.1f} MB pickled: build multiply, sum"
    return [Benchmark(name, {OURS: build, "2 s": lambda: time.sleep(2.0)}, {"2 s": 1.0})]


GROUPS: dict[str, Group] = {
    "elementwise": elementwise,
    "lazy": lazy_elementwise,
    "reductions": reductions,
    "movements": movements,
    "small-blocks": small_blocks,
    "labels": labels,
    "archives": archives,
    "graphs": graphs,
}
