"""Other packages, each optional and in a file of its own."""
