"""Labelled, block-sparse tensors with gradients, larger than memory."""

from outgrad.labels import Labels, LabelsEntry
from outgrad.tensor import TensorBlock, TensorMap

__all__ = ["Labels", "LabelsEntry", "TensorBlock", "TensorMap"]
