"""Contraction over properties: dot."""

from __future__ import annotations

from collections.abc import Iterator

from outgrad.data.metadata import BlockMetadata
from outgrad.engine.dot.blocks import Product, multiplied
from outgrad.errors import NotEqualError, ValidationError
from outgrad.labels.display import described
from outgrad.labels.labels import Labels
from outgrad.ops.operands import T, like, pair


def dot(tensor_1: T, tensor_2: T) -> T:
    r"""Contract the properties of two maps: the operator ``@``.

    .. math:: h = X_1 X_2^T, \qquad \nabla h = (\nabla X_1) X_2^T + X_1 (\nabla X_2)^T

    A gradient row of ``tensor_2`` acts on every sample of ``tensor_1``. The result has one row for each
    sample s and each distinct target t of the gradient rows of ``tensor_2`` (their labels after ``sample``),

    .. math:: \partial_t h_{scq} = \sum_p X_{1,scp}\, \partial_t X_{2,qp}

    in addition to the rows of :math:`(\nabla X_1) X_2^T`. A map that has no gradient with respect to a
    parameter does not depend on it. If both maps depend on a parameter, gradients of gradients with respect
    to it need the gradients of both.

    Parameters
    ----------
    tensor_1 : TensorMap or TensorBlock
        Values (S, \*C, P), with or without gradients.
    tensor_2 : TensorMap or TensorBlock
        Values (Q, P), with the same properties and without components, with or without gradients (R, \*K, P).
        It has to be small: each chunk of ``tensor_1`` is multiplied with complete blocks of ``tensor_2``,
        whose gradients with respect to T targets are held as dense arrays (T, \*K, Q, P).

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, Q), whose properties are the samples of ``tensor_2``.

    Raises
    ------
    NotEqualError
        If keys or properties differ, or gradients with respect to the same parameter have different sample
        names or components.
    ValidationError
        If ``tensor_2`` has components, or a gradient that the product rule needs is missing.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.dot(block, block).values
    array([[5.]])
    """
    first, second = pair("dot", tensor_1, tensor_2, ("tensor_1", "tensor_2"))
    products = []
    for a, b in zip(first.metadata, second.metadata, strict=True):
        _check_factors(a, b)
        products.append(Product.of(a, b))
        for path, gradient in products[-1].pattern.walk():
            names = [component.names[0] for component in gradient.components]
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise ValidationError(
                    f"dot: the gradient {'/'.join(path)!r} of the result would have two components "
                    f"{twice[0]!r}; rename one of them with rename_dimension"
                )
    return like(tensor_1, multiplied(products, first, second))


def _check_factors(a: BlockMetadata, b: BlockMetadata) -> None:
    if a.properties != b.properties:
        raise NotEqualError(
            f"inputs to 'dot' should have the same properties, in the same order; found "
            f"{described(a.properties)}, and {described(b.properties)}"
        )
    if b.components:
        raise ValidationError(
            f"dot: tensor_2 should not have components, found {[c.names[0] for c in b.components]}; "
            "only tensor_1 may have them"
        )
    for path, first in _row_components(a):
        for other_path, second in _row_components(b):
            if path != other_path and path[-1] != other_path[-1]:
                continue
            # Components of gradients of gradients have names of their own, but the same entries.
            names = a.at(path).samples.names, b.at(other_path).samples.names
            entries = [[c.values.tolist() for c in each] for each in (first, second)]
            called = [[c.names[0] for c in each] for each in (first, second)]
            same_names = path != other_path or called[0] == called[1]
            if names[0] != names[1] or entries[0] != entries[1] or not same_names:
                raise NotEqualError(
                    f"inputs to 'dot' should have the same gradient sample names and components; of the "
                    f"gradients {path[-1]!r} found {names[0]}, {called[0]} with "
                    f"{[len(e) for e in entries[0]]} entries and {names[1]}, {called[1]} with "
                    f"{[len(e) for e in entries[1]]} entries"
                )


def _row_components(metadata: BlockMetadata) -> Iterator[tuple[tuple[str, ...], tuple[Labels, ...]]]:
    """Yield the components that each gradient has beside those of its parent."""
    for path, gradient in metadata.walk():
        if path:
            parent = metadata.at(path[:-1])
            yield path, gradient.components[: len(gradient.components) - len(parent.components)]
