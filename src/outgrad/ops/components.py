"""Sums over components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from outgrad.data.metadata import BlockMetadata
from outgrad.engine.map.blocks import run_rule
from outgrad.errors import ValidationError
from outgrad.gradients.elementwise import SUM_COMPONENTS
from outgrad.ops.operands import T, content, like, names_of
from outgrad.ops.twins import block_twin


def sum_over_components(tensor: T, component_names: str | Sequence[str]) -> T:
    r"""Sum over components and remove them.

    .. math:: h_{s c p} = \sum_{m} X_{s m c p}, \qquad
        \nabla h_{s c p} = \sum_{m} \nabla X_{s m c p}

    Floating-point numbers are summed in float64 and the sum is stored in the dtype of the map. Integers are
    summed in their own dtype and can overflow.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    component_names : str or list of str
        Components of the values to sum over. Components that only gradients have are kept.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*D, P), where D are the remaining components.

    Raises
    ------
    ValidationError
        If the values do not have a component of this name.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[[1.0, 2.0], [3.0, 4.0]]]))
    >>> og.sum_over_components(block, "component_1").values
    array([[4., 6.]])
    """
    blocks = content("sum_over_components", "tensor", tensor)
    names = names_of("sum_over_components", "component_names", component_names)
    axes = []
    for metadata in blocks.metadata:
        components = [component.names[0] for component in metadata.components]
        unknown = [name for name in names if name not in components]
        if unknown:
            raise ValidationError(
                f"sum_over_components: {unknown} not found in the components of the values, which are "
                f"{components}"
            )
        # counted from the end, as gradients have more components in front
        axes.append(tuple(n - len(components) - 1 for n, name in enumerate(components) if name in names))

    def top(n: int, metadata: BlockMetadata) -> BlockMetadata:
        kept = [c for c in metadata.components if c.names[0] not in names]
        return replace(metadata, components=tuple(kept))

    return like(tensor, run_rule(SUM_COMPONENTS, [blocks], lambda n: (axes[n],), top))


sum_over_components_block = block_twin(sum_over_components)
