"""Archives: plain Zarr v3, with a commit that tells what belongs to a version."""
