"""Tests, a folder for each room of ``src/outgrad``; what several of them need is in ``tests.support``."""
