"""Derivatives: what an operation does to values and gradients."""
