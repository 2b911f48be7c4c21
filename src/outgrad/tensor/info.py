"""Texts attached to a map."""

from __future__ import annotations


class Info:
    """Texts by key, which operations and archives keep."""

    _info: dict[str, str]

    def set_info(self, key: str, value: str) -> None:
        """Attach a text to the map; operations and archives keep it.

        Parameters
        ----------
        key, value : str
            Key and text. An existing text with this key is replaced.

        Raises
        ------
        TypeError
            If an argument is not a str.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((1, 2)))])
        >>> map.set_info("unit", "eV")
        >>> (2 * map).info()
        {'unit': 'eV'}
        """
        if not (isinstance(key, str) and isinstance(value, str)):
            raise TypeError(f"set_info({key!r}, {value!r}): key and value must be str")
        self._info[key] = value

    def get_info(self, key: str) -> str | None:
        """Return the text with this key.

        Parameters
        ----------
        key : str
            Key of the text.

        Returns
        -------
        str or None
            The text, or None if the key does not exist.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((1, 2)))])
        >>> map.set_info("unit", "eV")
        >>> map.get_info("unit")
        'eV'
        """
        return self._info.get(key)

    def info(self) -> dict[str, str]:
        """Return all texts attached to the map.

        Returns
        -------
        dict of str to str
            A copy; changing it does not change the map.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((1, 2)))])
        >>> map.set_info("unit", "eV")
        >>> map.info()
        {'unit': 'eV'}
        """
        return dict(self._info)
