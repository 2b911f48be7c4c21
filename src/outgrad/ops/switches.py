"""The switch of checks, for loops over many small maps whose labels are known to agree."""

from __future__ import annotations

from typing import Any, Self

from outgrad.config import checks, set_checks


def checks_enabled() -> bool:
    """Tell whether operations of two maps compare labels: see :func:`unsafe_disable_checks`.

    Returns
    -------
    bool
        The configuration ``outgrad.checks``, by default True.

    Examples
    --------
    >>> import outgrad as og
    >>> og.checks_enabled()
    True
    """
    return checks()


class _Switch:
    """Set the switch when called; as a context, restore it at the end."""

    _state: bool

    def __init__(self) -> None:
        self._before = checks()
        set_checks(self._state)

    def __repr__(self) -> str:
        return f"checks {'en' if self._state else 'dis'}abled"

    def __enter__(self) -> Self:
        set_checks(self._state)
        return self

    def __exit__(self, *_: Any) -> None:
        set_checks(self._before)


class unsafe_enable_checks(_Switch):
    """Compare labels again: for good if it is called, for a while in a ``with`` statement.

    Examples
    --------
    >>> import outgrad as og
    >>> og.unsafe_enable_checks()
    checks enabled
    """

    _state = True


class unsafe_disable_checks(_Switch):
    """Do not compare labels: for good if it is called, for a while in a ``with`` statement.

    Operations of two maps then take the labels of the first. Shapes, keys and the names of gradients are
    still compared, so that nothing crashes; but where samples, components or properties differ, what is
    computed has no meaning, and nothing says so: samples in another order are not aligned. Gradient rows are
    united as always.

    The environment variable ``OUTGRAD_UNSAFE_DISABLE_CHECKS=1`` does the same from the start, and so does the
    configuration ``outgrad.checks``.

    Examples
    --------
    >>> import outgrad as og
    >>> with og.unsafe_disable_checks():
    ...     og.checks_enabled()
    False
    >>> og.checks_enabled()
    True
    """

    _state = False
