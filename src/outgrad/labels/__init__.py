"""Labels: named dimensions and a table of unique integer rows, and the arithmetic on such tables."""
