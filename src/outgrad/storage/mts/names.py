"""Names of the members of an ``.mts`` file: the one home of this layout.

::

    keys.npy
    blocks/<i>/values.npy | samples.npy | components/<j>.npy | properties.npy
    blocks/<i>/gradients/<parameter>/values.npy | samples.npy | components/<j>.npy | gradients/…
    info.json

A file of a single block has the same names without ``blocks/<i>/``, and neither keys nor info. A
file of labels is one bare ``.npy``.

Files of equistore, as metatensor was called until 2023, have other names, which are translated::

    blocks/<i>/values/data.npy | values/samples.npy | values/components/<j>.npy | values/properties.npy
    blocks/<i>/gradients/<parameter>/data.npy | samples.npy | components/<j>.npy
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from outgrad.storage.mts.file import MtsSource, file_error
from outgrad.storage.mts.zip import Member, require_readable

Kind = Literal["map", "block", "labels"]

KEYS, INFO = "keys.npy", "info.json"
MAX_GRADIENT_DEPTH = 64
BLOCK = r"blocks/(?:0|[1-9]\d{0,8})/"
COMPONENT = r"components/(?:0|[1-9]\d?)"
NAME = re.compile(
    rf"(?P<block>{BLOCK})?(?P<gradients>(?:gradients/[^/]*/)*)"
    rf"(?:(?P<kind>values|samples|properties)|{COMPONENT})\.npy",
    re.DOTALL,
)
GRADIENT = re.compile(rf"(?:{BLOCK})?gradients/.*/(?:values|samples)\.npy", re.DOTALL)
OLD_SIGN = "blocks/0/values/data.npy"
OLD_VALUES = re.compile(rf"({BLOCK})values/((?:data|samples|properties|{COMPONENT})\.npy)")
OLD_GRADIENT = re.compile(rf"({BLOCK}gradients/[^/]*/)data\.npy", re.DOTALL)

Tree = dict[str, "Tree"]
"""Gradient parameters of a block, and below each those of the gradient."""


def values_name(prefix: str) -> str:
    return f"{prefix}values.npy"


def samples_name(prefix: str) -> str:
    return f"{prefix}samples.npy"


def properties_name(prefix: str) -> str:
    return f"{prefix}properties.npy"


def component_name(prefix: str, number: int) -> str:
    return f"{prefix}components/{number}.npy"


def gradient_prefix(prefix: str, parameter: str) -> str:
    return f"{prefix}gradients/{parameter}/"


def block_prefix(kind: Kind, number: int) -> str:
    return f"blocks/{number}/" if kind == "map" else ""


def is_parameter(parameter: str) -> bool:
    """Whether a gradient of this name can be kept in the file and read by metatensor."""
    return not set("/\0") & set(parameter) and _is_text(parameter)


def layout_members(file: MtsSource, members: Mapping[str, Member]) -> dict[str, Member]:
    """Return the members that the layout has, by their names in it; all can be read.

    Others are ignored, as metatensor does: folders, ``__MACOSX/``, a README. Names that would lead out of a
    folder are refused: such a file was made to do harm.
    """
    is_old = OLD_SIGN in members
    found: dict[str, Member] = {}
    for stored, member in members.items():
        name = _translated(stored) if is_old else stored
        if name in (KEYS, INFO) or _is_known(file, name):
            if name in found:
                raise file_error(file.where(stored), f"{found[name].name!r} says the same")
            require_readable(file, member)
            found[name] = member
        else:
            _refuse_escape(file, stored)
    return found


def _translated(stored: str) -> str:
    """Return the name today of a member of a file of equistore."""
    if match := OLD_VALUES.fullmatch(stored):
        return match[1] + match[2].replace("data", "values")
    if match := OLD_GRADIENT.fullmatch(stored):
        return match[1] + "values.npy"
    return stored


def _is_known(file: MtsSource, name: str) -> bool:
    match = NAME.fullmatch(name)
    if match is None and GRADIENT.fullmatch(name):
        raise file_error(file.where(name), "the name of a gradient has a slash, which cannot be told apart")
    if match is None or (match["gradients"] and match["kind"] == "properties"):
        return False
    if "\0" in name or not _is_text(name):
        raise file_error(file.where(name), "the name of the member has a zero byte, or is not UTF-8")
    if match["gradients"].count("/") // 2 > MAX_GRADIENT_DEPTH:
        raise file_error(
            file.where(name), f"the name of the member nests gradients deeper than {MAX_GRADIENT_DEPTH}"
        )
    return True


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refuse_escape(file: MtsSource, name: str) -> None:
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        raise file_error(file.where(name), "the name of the member is an absolute path")
    if "\\" in name:
        raise file_error(file.where(name), "the name of the member has a backslash")
    if ".." in name.split("/"):
        raise file_error(file.where(name), "the name of the member leads out of its folder by '..'")


def kind_of(file: MtsSource, names: Iterable[str]) -> Kind:
    """Tell a map from a block by what the file has."""
    found = set(names)
    if KEYS in found:
        return "map"
    if values_name("") in found:
        return "block"
    raise file_error(
        repr(file.path), f"it has neither {KEYS!r}, as a map has, nor {values_name('')!r}, as a block has"
    )


def gradient_trees(names: Iterable[str]) -> dict[str, Tree]:
    """Return the gradients of each block by its prefix, in the order in which the file lists them."""
    trees: dict[str, Tree] = {}
    for name in names:
        match = NAME.fullmatch(name)
        if match is None or match["kind"] not in ("values", "samples"):
            continue
        tree = trees.setdefault(match["block"] or "", {})
        for parameter in match["gradients"].split("/")[1::2]:
            tree = tree.setdefault(parameter, {})
    return trees
