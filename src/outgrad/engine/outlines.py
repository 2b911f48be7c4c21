"""From labels to outlines: where the chunks of a block are cut."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from outgrad.data.chunking import SYSTEM_NAMES, cut_samples, gradient_edges, system_edges
from outgrad.data.frame import Frame
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges, Outline
from outgrad.errors import UnsortedGradientWarning
from outgrad.labels.labels import Labels

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
    gradients = {name: whole(gradient, dtype) for name, gradient in metadata.gradients.items()}
    edges = np.array([0, len(metadata.samples)], dtype=np.int64)
    return Outline(edges, metadata.trailing, dtype, gradients)


def frame(metadata: BlockMetadata, dtype: DType, dimensions: int = 0) -> Frame:
    """The shapes of a block and its gradients apart from rows."""
    gradients = {
        name: frame(gradient, dtype, len(gradient.samples.names))
        for name, gradient in metadata.gradients.items()
    }
    return Frame(metadata.trailing, dtype, dimensions, gradients)


def _outline(metadata: BlockMetadata, dtype: DType, edges: Edges) -> Outline | None:
    gradients = {}
    for name, gradient in metadata.gradients.items():
        below = gradient_edges(sample_column(gradient), edges)
        if below is None:
            _warn_unsorted(name)
            return None
        found = _outline(gradient, dtype, below)
        if found is None:
            return None
        gradients[name] = found
    return Outline(edges, metadata.trailing, dtype, gradients)


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
