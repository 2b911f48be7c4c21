"""Text from outside in a form that can be printed."""

from __future__ import annotations


def visible(text: str) -> str:
    """Escape characters that would control a terminal, or could not be seen.

    >>> print(visible("a\\x1b[31mb"))
    a\\x1b[31mb
    """
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode()
        for each in text
    )
