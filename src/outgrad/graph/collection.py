"""What Dask asks of a collection, for classes that hold lazy blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import dask
from dask import threaded
from dask.base import DaskMethodsMixin, get_scheduler
from dask.highlevelgraph import HighLevelGraph

from outgrad.data.chunk import ChunkList
from outgrad.graph.computing import compute
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Notes, SizedLayer, digest, top_layers
from outgrad.graph.fuse import optimize
from outgrad.graph.lazy_blocks import LazyBlocks, LazyText, held_bytes
from outgrad.graph.memory import TaskMemory, project
from outgrad.graph.workers import Workers, connected_workers
from outgrad.task import task


def compute_keys(graph: Any, keys: list[Key], call: str = "this computation") -> list[Any]:
    """Compute some keys at once, on the scheduler that Dask would use: a client, if there is one.

    ``call`` says in errors what is computed.

    Raises
    ------
    MemoryLimitError
        If the client's workers do not have enough memory; no task was started.
    """
    get = get_scheduler() or threaded.get  # type: ignore[no-untyped-call]
    optimized = optimize(graph, keys)
    workers = _limited_workers(get)
    if workers is not None:
        workers.check(call, project(graph, optimized))
    return compute(get, optimized.graph, keys)


Texts = Mapping[str, str | LazyText]
"""What is kept with blocks under a name: a text, or one that is not known before a task has run."""


def lazy_texts(texts: Texts) -> dict[str, LazyText]:
    """Those that tasks will make."""
    return {name: text for name, text in texts.items() if isinstance(text, LazyText)}


def persisted(
    blocks: LazyBlocks, texts: Texts, graph: Any, rename: dict[str, str] | None = None
) -> tuple[LazyBlocks, Texts]:
    """The same blocks and texts with the results that Dask put into ``graph``."""
    keys = tuple(_renamed(key, rename or {}) for key in blocks.keys)
    names = {name: _renamed(text.key, rename or {}) for name, text in lazy_texts(texts).items()}
    if not isinstance(graph, HighLevelGraph):
        name = f"persisted-{digest(keys)}"

        def note() -> Notes:
            sizes = dict(zip(keys, held_bytes(blocks.outlines, blocks.parts), strict=True))
            return Notes({**sizes, **dict.fromkeys(names.values(), 0)})

        graph = HighLevelGraph({name: SizedLayer(dict(graph), note)}, {name: set()})
    kept = {name: LazyText(graph, key) for name, key in names.items()}
    return LazyBlocks(graph, keys, blocks.parts, blocks.outlines), {**texts, **kept}


def _renamed(key: Key, names: Mapping[str, str]) -> Key:
    """Exchange the name in a ``(name, number)`` key."""
    assert isinstance(key, tuple), "keys of parts are (name, number)"
    return (names.get(str(key[0]), key[0]), *key[1:])


def _layers(graph: HighLevelGraph, keys: Sequence[Key]) -> list[str]:
    """Names of the layers on which no other layer builds, and of those that hold keys."""
    named = [str(key[0]) for key in keys if isinstance(key, tuple) and key[0] in graph.layers]
    return [*top_layers(graph), *named]


@dataclass(frozen=True)
class Optimizer:
    """Optimizes graphs, and refuses those for which workers do not have enough memory.

    Dask calls it with all that is computed together; under a client this is in the process of the scheduler.
    """

    workers: Workers | None = field(default=None, compare=False)
    """All optimizers are equal, whatever workers held when they were made: then all graphs are one graph."""

    def __call__(self, graph: Any, keys: Any, **_: Any) -> Any:
        optimized = optimize(graph, keys)
        if self.workers is not None:
            self.workers.check("this computation", project(graph, optimized))
        return optimized.graph


class _Optimize:
    """Gives Dask an optimizer that knows the workers of the client, and refuses one collection at once."""

    def __get__(self, collection: LazyCollection | None, kind: type) -> Optimizer:
        blocks = None if collection is None else collection._lazy_blocks()
        workers = _limited_workers(get_scheduler())  # type: ignore[no-untyped-call]
        if blocks is not None and workers is not None:
            projected: TaskMemory | None = vars(blocks).get("projected")
            if projected is None:  # Dask asks for the optimizer several times
                projected = project(blocks.graph, optimize(blocks.graph, blocks.keys))
                vars(blocks)["projected"] = projected
            workers.check("this computation", projected)
        return Optimizer(workers)


def _scheduler(options: Mapping[str, Any]) -> AbstractContextManager[Any]:
    """Let the optimizer know which scheduler a call names: Dask does not pass it on."""
    named = options.get("scheduler")
    return nullcontext() if named is None else dask.config.set(scheduler=named)


def _limited_workers(get: Any) -> Workers | None:
    """The workers of the client whose method ``get`` is, if their memory is limited."""
    client = getattr(get, "__self__", None)
    workers = None if client is None else connected_workers(client)
    return None if workers is None or workers.limit_bytes is None else workers


class LazyCollection(DaskMethodsMixin):
    """Mixin: a Dask collection if its data are lazy; not one if they are in memory."""

    __dask_scheduler__ = staticmethod(threaded.get)
    __dask_optimize__ = _Optimize()

    def _lazy_blocks(self) -> LazyBlocks | None:
        raise NotImplementedError

    def _texts(self) -> Texts:
        """What is kept with the blocks."""
        return {}

    def _rebuild(self, blocks: LazyBlocks, texts: Texts) -> Any:
        raise NotImplementedError

    def _finalize(self, parts: list[ChunkList], texts: dict[str, str]) -> Any:
        raise NotImplementedError

    def compute(self, **options: Any) -> Any:
        """Compute lazy data; data in memory are returned as they are.

        Parameters
        ----------
        **options
            As for :func:`dask.compute`. If ``scheduler`` is given, it is used instead of the client.

        Returns
        -------
        TensorMap or TensorBlock
            The same labels, with NumPy arrays as values.

        Raises
        ------
        MemoryLimitError
            If the workers of the client do not have enough memory; no task was started.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> lazy = og.block_from_array(np.ones((4, 2))).chunk()
        >>> type(lazy.compute().values).__name__
        'ndarray'
        """
        with _scheduler(options):
            return super().compute(**options)  # type: ignore[no-untyped-call]

    def persist(self, **options: Any) -> Any:
        """Compute lazy data and keep the chunks in memory, on the workers if there is a client.

        Parameters
        ----------
        **options
            As for :func:`dask.persist`. If ``scheduler`` is given, it is used instead of the client.

        Returns
        -------
        TensorMap or TensorBlock
            The same labels, with Dask arrays of computed chunks as values.

        Raises
        ------
        MemoryLimitError
            If the workers of the client do not have enough memory; no task was started.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> lazy = og.block_from_array(np.ones((4, 2))).chunk(target_bytes=32)
        >>> lazy.persist().chunks
        (2, 2)
        """
        with _scheduler(options):
            return super().persist(**options)  # type: ignore[no-untyped-call]

    def __dask_graph__(self) -> HighLevelGraph | None:
        blocks = self._lazy_blocks()
        if blocks is None:
            return None
        texts = lazy_texts(self._texts()).values()
        return HighLevelGraph.merge(blocks.graph, *(text.graph for text in texts)) if texts else blocks.graph

    def __dask_keys__(self) -> list[Key]:
        blocks = self._lazy_blocks()
        if blocks is None:
            return []
        return [*blocks.keys, *(text.key for text in lazy_texts(self._texts()).values())]

    def __dask_layers__(self) -> tuple[str, ...]:
        blocks = self._lazy_blocks()
        if blocks is None:
            return ()
        texts = lazy_texts(self._texts()).values()
        made = [(blocks.graph, blocks.keys), *((text.graph, (text.key,)) for text in texts)]
        return tuple(dict.fromkeys(name for graph, keys in made for name in _layers(graph, keys)))

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[Any]]:
        blocks = self._lazy_blocks()
        assert blocks is not None, "only lazy data are computed"
        nothing = HighLevelGraph({}, {})
        texts = {name: LazyText(nothing, text.key) for name, text in lazy_texts(self._texts()).items()}
        without_graph = LazyBlocks(nothing, blocks.keys, blocks.parts, blocks.outlines)
        return put_together, (self._rebuild(without_graph, {**self._texts(), **texts}),)

    def __dask_postpersist__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return self._after_persist, ()

    def _after_persist(self, graph: Any, *, rename: dict[str, str] | None = None) -> Any:
        blocks = self._lazy_blocks()
        assert blocks is not None, "only lazy data are persisted"
        return self._rebuild(*persisted(blocks, self._texts(), graph, rename))


@task(copies=True, finishes=True)
def put_together(results: Sequence[Any], collection: Any) -> Any:
    """Put the parts of a collection together, which comes without its graph."""
    names = list(lazy_texts(collection._texts()))
    parts = len(results) - len(names)
    return collection._finalize(list(results[:parts]), dict(zip(names, results[parts:], strict=True)))
