"""The command line: parse, call, print."""

from outgrad.cli.commands import main

__all__ = ["main"]
