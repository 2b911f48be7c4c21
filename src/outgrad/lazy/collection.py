"""What Dask asks of a collection, for whoever holds lazy blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from graphlib import TopologicalSorter
from typing import Any

from dask import threaded
from dask._task_spec import convert_legacy_graph, cull, fuse_linear_task_spec
from dask.base import DaskMethodsMixin, get_scheduler, tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.typing import Key
from dask.utils import ensure_dict

from outgrad.lazy.blocks import LazyBlocks


def optimize(graph: Any, keys: Iterable[Any]) -> dict[Key, Any]:
    """Drop what is not asked for, and fuse chains: reading, working and writing become one task."""
    wanted = list(_flat(keys))
    tasks = convert_legacy_graph(ensure_dict(graph))  # persisted results are plain values or futures
    fused: dict[Key, Any] = fuse_linear_task_spec(_bottom_up(cull(tasks, wanted)), wanted)  # type: ignore[no-untyped-call]
    return fused


def _bottom_up(tasks: Mapping[Key, Any]) -> dict[Key, Any]:
    """Order tasks before those that need them: fusion that meets a later task first breaks its chain."""
    order = TopologicalSorter({key: task.dependencies for key, task in tasks.items()}).static_order()
    return {key: tasks[key] for key in order if key in tasks}


def compute_keys(graph: Any, keys: list[Key]) -> list[Any]:
    """Compute some keys at once, on the scheduler that Dask would use: a client, if there is one."""
    get = get_scheduler() or threaded.get  # type: ignore[no-untyped-call]
    return list(get(optimize(graph, keys), keys))


def _flat(keys: Any) -> Iterable[Key]:
    if isinstance(keys, list):
        for key in keys:
            yield from _flat(key)
    else:
        yield keys


def persisted(blocks: LazyBlocks, graph: Any, rename: dict[str, str] | None = None) -> LazyBlocks:
    """The same blocks with the results that Dask put into ``graph``."""
    keys = blocks.keys
    if rename:
        keys = tuple(_renamed(key, rename) for key in keys)
    if not isinstance(graph, HighLevelGraph):
        name = f"persisted-{tokenize(keys)}"
        graph = HighLevelGraph.from_collections(name, dict(graph), dependencies=())
    return LazyBlocks(graph, keys, blocks.parts, blocks.outlines)


def _renamed(key: Key, names: Mapping[str, str]) -> Key:
    """Exchange the name in a ``(name, number)`` key."""
    assert isinstance(key, tuple), "keys of parts are (name, number)"
    return (names.get(str(key[0]), key[0]), *key[1:])


class LazyCollection(DaskMethodsMixin):
    """Mixin: a Dask collection if its data are lazy, and none if they are in memory."""

    __dask_scheduler__ = staticmethod(threaded.get)
    __dask_optimize__ = staticmethod(lambda graph, keys, **_: optimize(graph, keys))

    def _lazy_blocks(self) -> LazyBlocks | None:
        raise NotImplementedError

    def _rebuild(self, blocks: LazyBlocks) -> Any:
        raise NotImplementedError

    def _finalize(self, results: Any) -> Any:
        raise NotImplementedError

    def __dask_graph__(self) -> HighLevelGraph | None:
        blocks = self._lazy_blocks()
        return None if blocks is None else blocks.graph

    def __dask_keys__(self) -> list[Key]:
        blocks = self._lazy_blocks()
        return [] if blocks is None else list(blocks.keys)

    def __dask_layers__(self) -> tuple[str, ...]:
        blocks = self._lazy_blocks()
        return () if blocks is None else blocks.top_layers

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return self._finalize, ()

    def __dask_postpersist__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return self._after_persist, ()

    def _after_persist(self, graph: Any, *, rename: dict[str, str] | None = None) -> Any:
        blocks = self._lazy_blocks()
        assert blocks is not None, "only lazy data are persisted"
        return self._rebuild(persisted(blocks, graph, rename))
