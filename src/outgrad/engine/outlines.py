"""From labels to outlines: where the chunks of a block are cut."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from outgrad.data.chunking import SYSTEM_NAMES, cut_samples, gradient_edges, system_edges
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges, Frame, Outline
from outgrad.errors import UnsortedGradientWarning
from outgrad.labels.labels import Labels
from outgrad.tree import GradientPath, fold, fold_down

DType = np.dtype[Any]


def automatic(metadata: BlockMetadata, dtype: DType, target_bytes: int) -> Outline:
    """Cut by bytes of values and gradients together, on whole samples and whole systems.

    A block with gradient rows that are not sorted by ``sample`` stays one chunk.
    """
    every_sample = np.arange(len(metadata.samples) + 1, dtype=np.int64)
    full = _outline(metadata, dtype, every_sample)
    if full is None:
        return whole(metadata, dtype)
    cumulative = np.concatenate([[0], np.cumsum(full.chunk_bytes)])
    return at_edges(metadata, dtype, cut_samples(cumulative, systems(metadata.samples), target_bytes))


def systems(samples: Labels) -> Edges:
    """Rows of ``samples`` at which chunks may be cut so that systems stay whole."""
    for name in SYSTEM_NAMES:
        if name in samples.names:
            return system_edges(samples.column(name))
    return np.arange(len(samples) + 1, dtype=np.int64)


def at_edges(metadata: BlockMetadata, dtype: DType, edges: Edges) -> Outline:
    """Cut at the given samples, if gradient rows are sorted by ``sample``; else leave one chunk."""
    if len(edges) == 2:
        return whole(metadata, dtype)
    found = _outline(metadata, dtype, edges)
    return whole(metadata, dtype) if found is None else found


def whole(metadata: BlockMetadata, dtype: DType) -> Outline:
    """One chunk for the whole block; needs no label values."""

    def make(own: BlockMetadata, gradients: dict[str, Outline]) -> Outline:
        return Outline(np.array([0, len(own.samples)], dtype=np.int64), own.trailing, dtype, gradients)

    return fold(make, metadata)


def frame(metadata: BlockMetadata, dtype: DType) -> Frame:
    """The shapes of a block and its gradients apart from rows."""

    def make(path: GradientPath, _: Any, own: BlockMetadata, gradients: dict[str, Frame]) -> Frame:
        return Frame(own.trailing, dtype, len(own.samples.names) if path else 0, gradients)

    return fold_down(make, metadata)


def _outline(metadata: BlockMetadata, dtype: DType, edges: Edges) -> Outline | None:
    cuts: dict[GradientPath, Edges] = {(): edges}
    for path, gradient in metadata.walk():
        if path:
            below = gradient_edges(sample_column(gradient), cuts[path[:-1]])
            if below is None:
                _warn_unsorted(path[-1])
                return None
            cuts[path] = below
    return fold_down(
        lambda path, _, own, gradients: Outline(cuts[path], own.trailing, dtype, gradients), metadata
    )


def _warn_unsorted(parameter: str) -> None:
    warnings.warn(
        f"the rows of gradient {parameter!r} are not sorted by 'sample', so the block can only be one chunk; "
        "sort the rows of the gradient before chunking; sort(…, 'samples') does",
        UnsortedGradientWarning,
        stacklevel=2,
    )


def sample_column(gradient: BlockMetadata) -> npt.NDArray[np.int32]:
    """The parent row of every gradient row."""
    return gradient.samples.column("sample")
