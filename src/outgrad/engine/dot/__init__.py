"""Each chunk multiplied with the whole of another block."""
