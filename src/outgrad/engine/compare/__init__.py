"""Chunks compared with chunks."""
