"""Archives: plain Zarr v3, with a commit that says what belongs to a version."""
