"""Each chunk multiplied with all of another block."""
