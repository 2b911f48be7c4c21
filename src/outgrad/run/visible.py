"""Text from outside, as it can be printed."""

from __future__ import annotations


def visible(text: str) -> str:
    """Write out characters that would do something to a terminal, or nothing that can be seen.

    >>> print(visible("a\\x1b[31mb"))
    a\\x1b[31mb
    """
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode()
        for each in text
    )
