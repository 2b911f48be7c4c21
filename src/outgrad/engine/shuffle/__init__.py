"""Rows and columns that move between chunks and blocks: slice, sort, join, keys that move."""
