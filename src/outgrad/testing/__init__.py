"""What tests of this library share, for users' tests too.

:mod:`outgrad.testing.strategies` needs the optional package hypothesis and is imported by name; nothing else
imports it.
"""

from outgrad.testing.asserts import assert_identical
from outgrad.testing.gradient import check_gradient
from outgrad.testing.random_blocks import Order, Parameter, random_block, random_values

__all__ = ["Order", "Parameter", "assert_identical", "check_gradient", "random_block", "random_values"]
