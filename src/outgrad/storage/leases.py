"""Who is still writing: unfinished files carry the name of their writer.

A file that is being written is called ``.<name>.<token>.partial``, and next to a folder that is being written
there is an empty file of that kind, its lease. The token names the process that writes. A writer that is
killed leaves what it had written. The next one may remove it only when nobody is at work on it any more: for
a process of this machine that is known, for others it is judged by the age of the file.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import time
import uuid
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil

from outgrad.storage.store import Entry

OTHER_MACHINE_SECONDS = 7 * 24 * 3600.0
"""How long a writer on another machine is taken to be at work: longer than batch systems let a job run."""

SHOWN_NAME = 50
"""Characters of the target's name in that of its partial file: a name may have 255 bytes in all."""

_TOKEN = "[0-9a-f]{8}-[0-9a-f]{1,8}-[0-9a-f]{1,12}-[0-9a-f]{8}"
_PARTIAL = re.compile(rf"\.(?P<name>.+)\.(?P<token>{_TOKEN})\.partial", re.DOTALL)
_OLD_PARTIAL = re.compile(r"\.(?P<name>.+)\.(?P<token>[0-9a-f]{16}|[0-9a-f]{32})\.partial", re.DOTALL)
"""Partial files of earlier releases, whose writers cannot be asked."""

_START_FIELD = 19
"""Of /proc/<process>/stat, after the name: ticks since the start of the machine."""
_SAME_START = 5
"""Where there are no ticks the start is computed from the clock, which may be set in the meantime."""

_CLAIM = re.compile(r"\.(?P<name>.+)\.claim", re.DOTALL)

_at_work: set[str] = set()


def new_token() -> str:
    """A name for a writer of this process, which is at work until :func:`release`."""
    token = f"{_machine()}-{os.getpid():x}-{_own_start(os.getpid()):x}-{secrets.token_hex(4)}"
    _at_work.add(token)
    return token


def is_own(token: str) -> bool:
    """Whether a writer belongs to this process, and not to the one that this one was forked from."""
    return token in _at_work and int(token.split("-")[1], 16) == os.getpid()


def release(token: str) -> None:
    """Say that a writer of this process has ended."""
    _at_work.discard(token)


@cache
def _own_start(process: int) -> int:
    """When this process started; a child of a fork asks again."""
    return _starts_of(process)[0]


def _starts_of(process: int) -> tuple[int, ...]:
    """When a process started, in ticks since the machine did, which stay if the clock is set; and in seconds.

    Raises
    ------
    psutil.Error
        If there is no such process, or it cannot be asked.
    """
    seconds = int(psutil.Process(process).create_time())
    try:
        # The name of the program, which may have spaces, is the second of the fields, in parentheses.
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[_START_FIELD]), seconds
    except (OSError, ValueError, IndexError):
        return (seconds,)


@cache
def _machine() -> str:
    """Eight characters for what has process numbers of its own: a machine since its start, or a container."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
        machine = f"{Path('/proc/sys/kernel/random/boot_id').read_text()}{namespace}"
    except OSError:
        machine = f"{platform.node()}{uuid.getnode()}"
    return hashlib.sha256(machine.encode()).hexdigest()[:8]


def is_at_work(token: str, modified: float) -> bool:
    """Whether a writer may still be at work; where that cannot be known, the age of its file decides."""
    if re.fullmatch(_TOKEN, token) is None:
        return is_young(modified)
    machine, process, started, _ = token.split("-")
    if machine != _machine():
        return is_young(modified)
    if int(process, 16) == os.getpid():
        return token in _at_work
    try:
        # Numbers of processes are used again: the time of the start distinguishes them.
        starts = _starts_of(int(process, 16))
        return any(abs(start - int(started, 16)) < _SAME_START for start in starts)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def is_young(modified: float) -> bool:
    return time.time() - modified < OTHER_MACHINE_SECONDS


def partial_name(name: str, token: str) -> str:
    """The name of a file while it is written, next to its target."""
    return f"{partial_prefix(name)}.{token}.partial"


def partial_prefix(name: str) -> str:
    """How the names of what stands beside a file while it is written begin."""
    return f".{name[:SHOWN_NAME]}"


def claim_name(name: str) -> str:
    """The folder of the writer that may give a file its name, where the file system has no hard links."""
    return f".{name}.claim"


class Partial(NamedTuple):
    """An unfinished file."""

    target: str
    """The beginning of the name that it will have."""
    token: str
    entry: Entry

    @property
    def is_at_work(self) -> bool:
        """Whether its writer may still be at work."""
        return is_at_work(self.token, self.entry.modified)


def partials(entries: Iterable[Entry]) -> list[Partial]:
    """The unfinished files among what a folder holds."""
    found = []
    for entry in entries:
        match = _PARTIAL.fullmatch(entry.name) or _OLD_PARTIAL.fullmatch(entry.name)
        if match is not None and entry.kind == "object":
            found.append(Partial(match["name"], match["token"], entry))
    return found


def abandoned_partials(entries: Iterable[Entry], name: str | None = None) -> list[str]:
    """Names of partial files (of the target ``name``) whose writers are no longer at work."""
    return [
        each.entry.name
        for each in partials(entries)
        if (name is None or each.target == name[:SHOWN_NAME]) and not each.is_at_work
    ]


def abandoned_claims(entries: Sequence[Entry]) -> list[str]:
    """Names of folders by which writers that are gone have claimed names."""
    at_work = names_at_work(entries)
    claims = [(entry.name, _CLAIM.fullmatch(entry.name)) for entry in entries if entry.kind == "folder"]
    return [name for name, match in claims if match and match["name"][:SHOWN_NAME] not in at_work]


def names_at_work(entries: Iterable[Entry]) -> set[str]:
    """Names of the targets in a folder that somebody may be writing."""
    return {each.target for each in partials(entries) if each.is_at_work}
