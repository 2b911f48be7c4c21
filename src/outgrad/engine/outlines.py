"""From labels to outlines: where the chunks of a block are cut."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from outgrad.data.chunking import SYSTEM_NAMES, cut_samples, gradient_edges, system_edges
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges, Frame, Outline
from outgrad.errors import UnsortedGradientWarning
from outgrad.labels.labels import Labels
from outgrad.tree import GradientPath, fold, fold_down


def automatic(metadata: BlockMetadata, dtype: np.dtype[Any], target_bytes: int) -> Outline:
    """Cut by bytes of values and gradients together, between samples and if possible between systems.

    A block with gradient rows that are not sorted by ``sample`` stays one chunk.
    """
    every_sample = np.arange(len(metadata.samples) + 1, dtype=np.int64)
    finest = _cut_if_sorted(metadata, dtype, every_sample)
    if finest is None:
        return uncut(metadata, dtype)
    cumulative = np.concatenate([[0], np.cumsum(finest.chunk_bytes)])
    return at_edges(metadata, dtype, cut_samples(cumulative, systems(metadata.samples), target_bytes))


def systems(samples: Labels) -> Edges:
    """Rows of ``samples`` at which chunks may be cut without cutting systems."""
    for name in SYSTEM_NAMES:
        if name in samples.names:
            return system_edges(samples.column(name))
    return np.arange(len(samples) + 1, dtype=np.int64)


def at_edges(metadata: BlockMetadata, dtype: np.dtype[Any], edges: Edges) -> Outline:
    """Cut at these samples, if gradient rows are sorted by ``sample``; else leave one chunk."""
    if len(edges) == 2:
        return uncut(metadata, dtype)
    return _cut_if_sorted(metadata, dtype, edges) or uncut(metadata, dtype)


def uncut(metadata: BlockMetadata, dtype: np.dtype[Any]) -> Outline:
    """One chunk for all of the block; needs no label values."""

    def make(node: BlockMetadata, gradients: dict[str, Outline]) -> Outline:
        return Outline(np.array([0, len(node.samples)], dtype=np.int64), node.trailing, dtype, gradients)

    return fold(make, metadata)


def _cut_if_sorted(metadata: BlockMetadata, dtype: np.dtype[Any], edges: Edges) -> Outline | None:
    """Cut at these samples; where gradient rows are not sorted by ``sample``, warn and return None."""
    cuts: dict[GradientPath, Edges] = {(): edges}
    for path, gradient in metadata.walk():
        if path:
            gradient_cuts = gradient_edges(gradient.samples.column("sample"), cuts[path[:-1]])
            if gradient_cuts is None:
                warnings.warn(
                    f"the rows of gradient {path[-1]!r} are not sorted by 'sample', so the block can only be "
                    "one chunk; sort the rows of the gradient before chunking; sort(…, 'samples') does",
                    UnsortedGradientWarning,
                    stacklevel=1,
                )
                return None
            cuts[path] = gradient_cuts
    return fold_down(
        lambda path, _, node, gradients: Outline(cuts[path], node.trailing, dtype, gradients), metadata
    )


def with_edges(outline: Outline, edges: Mapping[GradientPath, Edges]) -> Outline:
    """Cut at other rows: those of the values by (), and of each gradient by its path."""
    return fold_down(
        lambda path, _, node, gradients: Outline(edges[path], node.trailing, node.dtype, gradients), outline
    )


def frame(metadata: BlockMetadata, dtype: np.dtype[Any]) -> Frame:
    """The shapes of a block and its gradients apart from rows."""

    def make(path: GradientPath, _: Any, node: BlockMetadata, gradients: dict[str, Frame]) -> Frame:
        return Frame(node.trailing, dtype, len(node.samples.names) if path else 0, gradients)

    return fold_down(make, metadata)
