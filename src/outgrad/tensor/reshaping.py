"""The methods of a map that move dimensions; by the functions of the same name."""

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
        """Merge blocks whose keys differ only in some dimensions, and put these in front of the properties.

        :func:`outgrad.keys_to_properties` is the same as a function, with the formula.

        Parameters
        ----------
        keys_to_move : str, list of str or Labels
            Dimensions of the keys, in the order in which they become dimensions of the properties. Labels
            with entries say which keys become properties, and in which order.
        fill_value : number
            What stands where a block has no sample or gradient row of another one that is merged with it.
        sort_samples : bool
            Sort the samples; otherwise they are in the order in which they appear. Gradient rows are sorted.

        Returns
        -------
        TensorMap
            One block for each distinct entry of the other dimensions, in the order in which they appear.

        Raises
        ------
        ValidationError
            If a dimension is unknown, repeated or already one of the properties, the map has no blocks,
            components differ, or ``fill_value`` does not fit the dtype.
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
        """Merge blocks whose keys differ only in some dimensions, and put these behind the samples.

        :func:`outgrad.keys_to_samples` is the same as a function, with the formula.

        Parameters
        ----------
        keys_to_move : str, list of str or Labels without entries
            Dimensions of the keys, in the order in which they become dimensions of the samples.
        fill_value : number
            What stands where a block has no property of another one that is merged with it.
        sort_samples : bool
            Sort the samples; otherwise those of one block stand behind those of the one before. Gradient
            rows are sorted.

        Returns
        -------
        TensorMap
            One block for each distinct entry of the other dimensions, in the order in which they appear.

        Raises
        ------
        ValidationError
            If a dimension is unknown, repeated or already one of the samples, the map has no blocks,
            components differ, ``keys_to_move`` has entries, or ``fill_value`` does not fit the dtype.
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
        """Put components in front of the properties, one after the other.

        :func:`outgrad.components_to_properties` is the same as a function, for blocks too.

        Parameters
        ----------
        dimensions : str or list of str
            Names of the components. Each becomes the first dimension of the properties, so that the last
            name is in front; without names nothing changes.

        Returns
        -------
        TensorMap
            Without these components, of values and gradients; the old properties run fastest.

        Raises
        ------
        ValidationError
            If the values have no such component, or the properties have a dimension of this name.
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
