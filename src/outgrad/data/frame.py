"""The shape of a chunk apart from its rows: what is known of a result before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from outgrad.tree import Tree


@dataclass(frozen=True)
class Frame(Tree):
    """Trailing shape and dtype of the values, and the same for each gradient.

    ``dimensions`` is the number of columns of a gradient's table; at the top it is 0.
    """

    trailing: tuple[int, ...]
    dtype: np.dtype[Any]
    dimensions: int = 0
    gradients: dict[str, Frame] = field(default_factory=dict)
