"""Groups of rows that become one: sums, means, variances and standard deviations."""
