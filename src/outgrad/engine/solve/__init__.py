"""Systems of linear equations: a factor of each chunk, united in a tree."""
