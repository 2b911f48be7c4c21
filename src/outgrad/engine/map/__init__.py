"""Each chunk by itself: rules, functions of elements and of rows."""
