"""Methods of a map that move dimensions; they call the functions of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from outgrad.labels.labels import Labels
from outgrad.late import late
from outgrad.tensor.operators import Operators


class Reshaping(Operators):
    """``keys_to_properties``, ``keys_to_samples`` and ``components_to_properties``."""

    def keys_to_properties(
        self,
        keys_to_move: str | Sequence[str] | Labels,
        *,
        fill_value: complex | float = 0.0,
        sort_samples: bool = True,
    ) -> Self:
        """Move key dimensions into the properties, merging the blocks that then share a key.

        See the function :func:`outgrad.keys_to_properties` for the formula.

        Parameters
        ----------
        keys_to_move : str, list of str or Labels
            Key dimensions to move, in the order in which they become property dimensions. Labels with
            entries also select and order the values that become properties.
        fill_value : number
            Value of entries for which a block lacks a sample or gradient row of another one.
        sort_samples : bool
            Sort the samples; otherwise they are in order of first appearance. Gradient rows are always
            sorted.

        Returns
        -------
        TensorMap
            One block per distinct value of the remaining key dimensions, in order of first appearance.

        Raises
        ------
        ValidationError
            If a dimension is unknown, repeated or already one of the properties, the map is empty, components
            differ, or ``fill_value`` does not fit the dtype.
        TypeError
            If an argument has the wrong type.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> n = og.Labels.range("n", 1)
        >>> carbon = og.TensorBlock(np.array([[1.0]]), og.Labels("atom", [[2]]), [], n)
        >>> oxygen = og.TensorBlock(np.array([[3.0], [4.0]]), og.Labels("atom", [[0], [2]]), [], n)
        >>> map = og.TensorMap(og.Labels("neighbor_type", [[6], [8]]), [carbon, oxygen])
        >>> block = map.keys_to_properties("neighbor_type", fill_value=np.nan).block()
        >>> block.values
        array([[nan,  3.],
               [ 1.,  4.]])
        >>> print(block.properties)
        Labels(
            neighbor_type  n
                  6        0
                  8        0
        )
        """
        options = {"fill_value": fill_value, "sort_samples": sort_samples}
        result: Self = late("ops.keys", "keys_to_properties")(self, keys_to_move, **options)
        return result

    def keys_to_samples(
        self,
        keys_to_move: str | Sequence[str] | Labels,
        *,
        fill_value: complex | float = 0.0,
        sort_samples: bool = True,
    ) -> Self:
        """Move key dimensions into the samples, merging the blocks that then share a key.

        See the function :func:`outgrad.keys_to_samples` for the formula.

        Parameters
        ----------
        keys_to_move : str, list of str or Labels without entries
            Key dimensions to move, in the order in which they become sample dimensions.
        fill_value : number
            Value of entries for which a block lacks a property of another one.
        sort_samples : bool
            Sort the samples; otherwise those of the merged blocks are concatenated. Gradient rows are always
            sorted.

        Returns
        -------
        TensorMap
            One block per distinct value of the remaining key dimensions, in order of first appearance.

        Raises
        ------
        ValidationError
            If a dimension is unknown, repeated or already one of the samples, the map is empty, components
            differ, ``keys_to_move`` has entries, or ``fill_value`` does not fit the dtype.
        TypeError
            If an argument has the wrong type.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> n = og.Labels.range("n", 1)
        >>> carbon = og.TensorBlock(np.array([[1.0]]), og.Labels("atom", [[2]]), [], n)
        >>> oxygen = og.TensorBlock(np.array([[3.0], [4.0]]), og.Labels("atom", [[0], [1]]), [], n)
        >>> map = og.TensorMap(og.Labels("center_type", [[6], [8]]), [carbon, oxygen])
        >>> block = map.keys_to_samples("center_type").block()
        >>> block.values
        array([[3.],
               [4.],
               [1.]])
        >>> print(block.samples)
        Labels(
            atom  center_type
             0         8
             1         8
             2         6
        )
        """
        options = {"fill_value": fill_value, "sort_samples": sort_samples}
        result: Self = late("ops.keys", "keys_to_samples")(self, keys_to_move, **options)
        return result

    def components_to_properties(self, dimensions: str | Sequence[str]) -> Self:
        """Move components into the properties.

        The function :func:`outgrad.components_to_properties` has the formula and takes blocks too.

        Parameters
        ----------
        dimensions : str or list of str
            Components to move. Each in turn becomes the first property dimension, so the last one ends up in
            front. Without names, nothing changes.

        Returns
        -------
        TensorMap
            Values and gradients without these components; the original properties vary fastest.

        Raises
        ------
        ValidationError
            If a component does not exist, or the properties already have a dimension of this name.
        TypeError
            If an argument has the wrong type.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> block = og.block_from_array(np.ones((4, 3, 2)), component_names=["xyz"])
        >>> map = og.TensorMap(og.Labels.single(), [block])
        >>> map.components_to_properties("xyz").block().properties.names
        ['xyz', 'property']
        """
        result: Self = late("ops.keys", "components_to_properties")(self, dimensions)
        return result
