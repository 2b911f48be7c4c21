"""Labels: named dimensions and a table of unique integer rows, and the arithmetic on such tables."""

from outgrad.labels.entry import LabelsEntry
from outgrad.labels.labels import Labels

__all__ = ["Labels", "LabelsEntry"]
