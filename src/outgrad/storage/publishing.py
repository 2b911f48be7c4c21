"""The one place where outputs become visible: all of them or none, as far as a file system allows."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from outgrad._signals import deferred
from outgrad.errors import ArchiveError, ArchiveWarning

LOGGER = logging.getLogger("outgrad")


class Unpublished(Protocol):
    """An output that is complete and flushed, and not visible yet."""

    @property
    def name(self) -> str:
        """Its name in messages."""
        ...

    def publish(self) -> None:
        """Make it visible in one step; what was there before can still be brought back."""
        ...

    def withdraw(self) -> None:
        """Bring back what was there before, if it was published."""
        ...

    def finish(self) -> Iterator[str]:
        """Remove what it replaces; yield what could not be done."""
        ...

    def abort(self) -> None:
        """Remove it, if it was not published."""
        ...


def publish_all(outputs: Sequence[Unpublished]) -> None:
    """Make outputs visible, one directly after the other, then remove what they replace.

    If one of them cannot be published, those before are withdrawn. Once all are visible nothing fails any
    more: what cannot be removed is a warning, and an interrupt is delivered after the call.
    """
    with deferred(after_return=True):
        tried: list[Unpublished] = []
        try:
            for output in outputs:
                tried.append(output)
                output.publish()
        except BaseException as error:
            for output in reversed(tried):
                try:
                    output.withdraw()
                except Exception as reason:
                    error.add_note(f"{output.name} was written, and could not be taken back: {reason}")
            raise
        problems: list[str] = []
        for output in outputs:
            try:
                for problem in output.finish():
                    problems.append(problem)  # noqa: PERF402 - what comes before an error counts
            except (OSError, ArchiveError) as error:  # a folder cannot be listed
                problems.append(f"cannot remove what is left in {output.name}: {error}")
    warn_of(problems)


def attempted(step: str, function: Callable[..., Any], *arguments: Any) -> Iterator[str]:
    """Call a function; yield a line if it fails, with the ``step`` that it makes."""
    try:
        function(*arguments)
    except OSError as error:
        yield f"cannot {step}: {error.strerror or error}"


def warn_of(problems: Sequence[str]) -> None:
    """Report what could not be done after data were saved, or while a save that failed was cleaned up."""
    if not problems:
        return
    text = "; ".join(problems)
    error = sys.exception()
    if error is not None:
        error.add_note(f"something is left over: {text}; `outgrad clean` removes it")
    else:
        try:
            warnings.warn(f"what was saved is there and complete, but {text}", ArchiveWarning, stacklevel=2)
        except ArchiveWarning as warning:  # where warnings are errors: nothing failed, the data are there
            LOGGER.warning("%s", warning)
