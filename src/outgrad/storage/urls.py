"""URLs of archives in object stores."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from outgrad.errors import PathError, printable

READ_ONLY = ("http", "https")
SCHEMES = ("s3", "gs", "az", *READ_ONLY, "memory")
SUPPORTED = "archives are at s3://, gs:// and az://, and are read at http(s):// too"

_STORE_URL = re.compile(rf"\s*({'|'.join(SCHEMES)})://", re.IGNORECASE)


@dataclass(frozen=True)
class StoreUrl:
    """Where an archive is in an object store."""

    scheme: str
    bucket: str
    """Of HTTP the machine and its port."""
    key: str
    """What the names of its objects begin with, as the store has it; "" for the whole bucket."""

    def __str__(self) -> str:
        key = quote(self.key) if self.scheme in READ_ONLY else self.key
        return f"{self.root}/{key}" if key else self.root

    @property
    def root(self) -> str:
        """The URL of the bucket."""
        return f"{self.scheme}://{self.bucket}"

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2] or self.bucket

    @property
    def suffix(self) -> str:
        """That of the name."""
        return PurePosixPath(self.key).suffix

    @property
    def parents(self) -> tuple[StoreUrl, ...]:
        """What it lies in, the nearest first."""
        parts = self.key.split("/") if self.key else []
        keys = ["/".join(parts[:number]) for number in reversed(range(len(parts)))]
        return tuple(StoreUrl(self.scheme, self.bucket, key) for key in keys)


Location = Path | StoreUrl
"""Where an archive or a file is."""


def is_store_url(text: str) -> bool:
    """Whether a text is a URL of an object store, right or wrong."""
    return _STORE_URL.match(text) is not None


def store_url(call: str, text: str) -> StoreUrl:
    """Read the URL of an object store.

    Raises
    ------
    PathError
        If it has a user, a password, a query or a fragment, which are not repeated in the message; if it
        names no bucket; or if a part of it is empty, ``.`` or ``..``.

    Examples
    --------
    >>> store_url("open", "s3://bucket/runs/water.zarr").name
    'water.zarr'
    """
    scheme, _, rest = text.strip().partition("://")
    scheme = scheme.lower()
    machine, _, key = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    bucket = machine.rpartition("@")[2]
    key = (unquote(key) if scheme in READ_ONLY else key).rstrip("/")
    where = f"{call} {printable(f'{scheme}://{bucket}/{key}')}"
    if "@" in machine or re.search(r"[?#]", rest):
        raise PathError(
            f"{where}: the URL has a user, a query or a fragment, which is not shown here; leave it out: "
            "credentials are taken from environment variables, such as AWS_ACCESS_KEY_ID"
        )
    if not bucket:
        raise PathError(f"{where}: the URL names no bucket; write {scheme}://bucket/name.zarr")
    if any(part in ("", ".", "..") for part in key.split("/")) and key:
        raise PathError(f"{where}: a part of the URL is empty, '.' or '..'; write it without")
    if not (bucket + key).isprintable() or "\\" in bucket:
        raise PathError(f"{where}: the URL has characters that no name should have; rename it")
    return StoreUrl(scheme, bucket, key)
