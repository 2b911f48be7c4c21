"""Index arithmetic: which rows of which chunk go where. Plans know no values and no Dask."""
