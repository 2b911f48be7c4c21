"""NumPy kernels on the arrays of one chunk. They know no labels and no Dask."""
