"""Texts that are kept with a map."""

from __future__ import annotations


class Info:
    """Texts by name; operations and archives keep them."""

    _info: dict[str, str]

    def set_info(self, key: str, value: str) -> None:
        """Keep a text with the map; it survives operations and storage.

        Parameters
        ----------
        key, value : str
            Name and text.

        Raises
        ------
        TypeError
            If one of them is no str.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((1, 2)))])
        >>> map.set_info("unit", "eV")
        >>> (2 * map).info()
        {'unit': 'eV'}
        """
        if not (isinstance(key, str) and isinstance(value, str)):
            raise TypeError(f"set_info({key!r}, {value!r}): both must be str")
        self._info[key] = value

    def get_info(self, key: str) -> str | None:
        """Return the text kept under ``key``.

        Parameters
        ----------
        key : str
            Name of the text.

        Returns
        -------
        str or None
            None if there is none.
        """
        return self._info.get(key)

    def info(self) -> dict[str, str]:
        """Return all texts kept with the map.

        Returns
        -------
        dict of str to str
            A copy.
        """
        return dict(self._info)
