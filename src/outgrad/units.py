"""Sizes as people write and read them: those of Dask, so that all of a notebook has the same units."""

from dask.utils import format_bytes, parse_bytes

__all__ = ["format_bytes", "parse_bytes"]
