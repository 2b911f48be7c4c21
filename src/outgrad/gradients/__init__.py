"""Derivatives: the rule of each operation, and the one mechanism that carries gradients through it."""
