"""Products of properties: dot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.data.chunk import Chunk
from outgrad.data.chunking import pack_chunks
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.engine import outlines
from outgrad.engine.content import Blocks, to_lazy, with_tables, without_tables
from outgrad.engine.dot.chunks import dense, outer
from outgrad.engine.dot.graph import dot_blocks
from outgrad.engine.map import labels as relabel
from outgrad.engine.map.blocks import lazy_of
from outgrad.errors import NotEqualError, ValidationError
from outgrad.gradients.rule import map_arrays
from outgrad.graph.lazy_blocks import LazyBlocks, recut
from outgrad.labels.labels import Labels
from outgrad.ops.operands import T, like, pair


def dot(tensor_1: T, tensor_2: T) -> T:
    r"""Multiply the properties of one map with those of another: the operator ``@``.

    .. math:: h = X_1 X_2^T, \qquad \nabla h = (\nabla X_1) X_2^T + X_1 (\nabla X_2)^T

    A gradient row of ``tensor_2`` acts on every sample of ``tensor_1``: the result has a row for each sample
    s and each distinct target t of the gradient rows of ``tensor_2``, the labels behind ``sample``,

    .. math:: \partial_t h_{scq} = \sum_p X_{1,scp}\, \partial_t X_{2,qp}

    united with the rows of :math:`(\nabla X_1) X_2^T`. A map without gradients with respect to a parameter
    does not depend on it. If both depend on it, gradients of gradients with respect to it need the
    gradients of both.

    Parameters
    ----------
    tensor_1 : TensorMap or TensorBlock
        Values (S, \*C, P), with any gradients.
    tensor_2 : TensorMap or TensorBlock
        Values (Q, P) with the same properties, without components, with any gradients (R, \*K, P). Each chunk
        of ``tensor_1`` is multiplied with whole blocks of ``tensor_2``, whose gradients with respect to T
        targets are held as (T, \*K, Q, P): it has to be small.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, Q); the properties are the samples of ``tensor_2``.

    Raises
    ------
    NotEqualError
        If keys or properties differ, or gradients with respect to the same parameter have other names or
        components.
    ValidationError
        If ``tensor_2`` has components, or a gradient is missing that the product rule needs.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.dot(block, block).values
    array([[5.]])
    """
    first, second = pair("dot", tensor_1, tensor_2, ("tensor_1", "tensor_2"))
    products = [_Product.of(a, b) for a, b in zip(first.metadata, second.metadata, strict=True)]
    if first.lazy is None and second.lazy is None:
        return like(tensor_1, _dot_at_once(products, first, second))
    return like(tensor_1, _dot_lazily(products, first, second))


@dataclass(frozen=True)
class _Product:
    """The labels of two blocks, and of their product but for the rows of gradients."""

    first: BlockMetadata
    second: BlockMetadata
    pattern: BlockMetadata

    @classmethod
    def of(cls, a: BlockMetadata, b: BlockMetadata) -> _Product:
        _check(a, b)
        head = BlockMetadata(a.samples, a.components, b.samples)
        pattern = _united(relabel.with_head(a, head), relabel.with_head(b, head))
        _check_components(pattern)
        return cls(a, b, pattern)

    def labels(self, result: Chunk, rows_stay: bool = False) -> BlockMetadata:
        return relabel.relabelled(self.pattern, result, replace(self.pattern, gradients={}), rows_stay)

    def rows(self, dtypes: tuple[Any, Any]) -> Chunk:
        """The product without properties: the rows of its gradients."""
        right = dense(relabel.without_properties(self.second, dtypes[1]))
        no_columns = map_arrays(right, lambda array: array[..., :0, :])
        return outer(relabel.without_properties(self.first, dtypes[0]), no_columns)

    def shape(self, dtypes: tuple[Any, Any]) -> Chunk:
        """The product without rows, where the second block has no gradients: no labels are read."""
        other = Chunk(np.broadcast_to(np.zeros((), dtypes[1]), (1, *self.second.shape)))  # no bytes
        return outer(relabel.without_rows(self.first, dtypes[0]), other)


def _united(a: BlockMetadata, b: BlockMetadata) -> BlockMetadata:
    """The gradients of both, at every depth."""
    gradients = dict(a.gradients)
    for name, below in b.gradients.items():
        gradients[name] = _united(gradients[name], below) if name in gradients else below
    return replace(a, gradients=gradients)


# ---- checks ----
def _check(a: BlockMetadata, b: BlockMetadata) -> None:
    if a.properties != b.properties:
        raise NotEqualError(
            f"inputs to 'dot' should have the same properties, in the same order; found "
            f"{a.properties.names} with {len(a.properties)} entries, and "
            f"{b.properties.names} with {len(b.properties)} entries"
        )
    if b.components:
        raise ValidationError(
            f"dot: tensor_2 should not have components, found {[c.names[0] for c in b.components]}; "
            "only tensor_1 may have them"
        )
    for path, own in _own_components(a):
        for other_path, other in _own_components(b):
            if path == other_path or path[-1] == other_path[-1]:
                names = a.at(path).samples.names, b.at(other_path).samples.names
                _check_gradient(path[-1], names, (own, other), path == other_path)


def _own_components(metadata: BlockMetadata) -> Iterator[tuple[tuple[str, ...], tuple[Labels, ...]]]:
    for path, below in metadata.walk():
        if path:
            parent = metadata.at(path[:-1])
            yield path, below.components[: len(below.components) - len(parent.components)]


def _check_gradient(
    name: str,
    names: tuple[list[str], list[str]],
    components: tuple[tuple[Labels, ...], tuple[Labels, ...]],
    same_names: bool,
) -> None:
    """Components of gradients of gradients have names of their own, but the same entries."""
    entries = [[c.values.tolist() for c in own] for own in components]
    called = [[c.names[0] for c in own] for own in components]
    if names[0] != names[1] or entries[0] != entries[1] or (same_names and called[0] != called[1]):
        raise NotEqualError(
            f"inputs to 'dot' should have the same gradient sample names and components; of the gradients "
            f"{name!r} found {names[0]}, {called[0]} with {[len(e) for e in entries[0]]} entries and "
            f"{names[1]}, {called[1]} with {[len(e) for e in entries[1]]} entries"
        )


def _check_components(pattern: BlockMetadata) -> None:
    for path, below in pattern.walk():
        names = [component.names[0] for component in below.components]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValidationError(
                f"dot: the gradient {'/'.join(path)!r} of the result would have two components {twice[0]!r}; "
                "rename the one of tensor_1 or of tensor_2 with rename_dimension"
            )


# ---- running ----
def _dot_at_once(products: list[_Product], first: Blocks, second: Blocks) -> Blocks:
    metadata, chunks = [], []
    for n, product in enumerate(products):
        left = with_tables(first.chunk(n), product.first)
        result = outer(left, dense(with_tables(second.chunk(n), product.second)))
        metadata.append(product.labels(result))
        chunks.append(without_tables(result))
    return Blocks(tuple(metadata), tuple(chunks))


def _dot_lazily(products: list[_Product], first: Blocks, second: Blocks) -> Blocks:
    left, right = lazy_of(to_lazy(first, chunk_bytes())), lazy_of(to_lazy(second, chunk_bytes()))
    uncut = tuple(outlines.whole(m, second.dtype(n)) for n, m in enumerate(second.metadata))
    whole = recut(right, uncut, pack_chunks(uncut, 1))
    cuts, metadata = [], []
    for n, product in enumerate(products):
        dtypes = first.dtype(n), second.dtype(n)
        if product.second.gradients:
            result = product.rows(dtypes)
            metadata.append(product.labels(result))
            cuts.append(relabel.new_cuts(left.outlines[n].edges, result, metadata[-1].trailing))
        else:
            result = product.shape(dtypes)
            metadata.append(product.labels(result, rows_stay=True))
            cuts.append(relabel.same_cuts([left.outlines[n]], result))
    if any(product.second.gradients for product in products):
        left, cuts = _finer(first, left, metadata, cuts)
    return Blocks(tuple(metadata), dot_blocks(left, whole, tuple(cuts)))


def _finer(
    first: Blocks, left: LazyBlocks, metadata: list[BlockMetadata], cuts: list[Outline]
) -> tuple[LazyBlocks, list[Outline]]:
    """Cut chunks whose products would be larger than a task should hold: every sample may get many rows."""
    target = chunk_bytes()
    given, wanted = list(left.outlines), list(cuts)
    for n, outline in enumerate(cuts):
        if outline.chunk_bytes.max() > target:
            automatic = outlines.automatic(metadata[n], outline.dtype, target)
            edges = np.unique(np.concatenate([outline.edges, automatic.edges]))
            own = outlines.at_edges(first.metadata[n], first.dtype(n), edges)
            if own.chunk_count == len(edges) - 1:  # else its gradient rows are not sorted
                given[n], wanted[n] = own, outlines.at_edges(metadata[n], outline.dtype, edges)
    if all(new is old for new, old in zip(wanted, cuts, strict=True)):
        return left, cuts
    return recut(left, tuple(given), pack_chunks(wanted, target)), wanted
