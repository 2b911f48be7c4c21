"""Switching label checks off and on, for loops over many small maps whose labels are known to agree."""

from __future__ import annotations

from typing import Any, Self

from outgrad.config import checks, set_checks


def checks_enabled() -> bool:
    """Check whether operations on two maps compare labels: see :func:`unsafe_disable_checks`.

    Returns
    -------
    bool
        The configuration value ``outgrad.checks``, True by default.

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
    """Compare labels again: permanently when called, temporarily in a ``with`` statement.

    Examples
    --------
    >>> import outgrad as og
    >>> og.unsafe_enable_checks()
    checks enabled
    """

    _state = True


class unsafe_disable_checks(_Switch):
    """Do not compare labels: permanently when called, temporarily in a ``with`` statement.

    Operations on two maps then use the labels of the first map. Shapes, keys and gradient names are still
    compared. If samples, components or properties differ, the result is meaningless and no error is raised:
    samples in a different order, for example, are not aligned. Gradient rows are matched as always.

    The environment variable ``OUTGRAD_UNSAFE_DISABLE_CHECKS=1`` and the configuration value
    ``outgrad.checks`` disable the checks from the start.

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
