"""The data classes: blocks and maps."""

from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap
from outgrad.tensor.metadata import BlockMetadata

__all__ = ["BlockMetadata", "TensorBlock", "TensorMap"]
