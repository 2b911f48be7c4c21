"""Blocks divided into parts by their samples."""
