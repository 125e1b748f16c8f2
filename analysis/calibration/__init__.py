"""The error rates of the judges, measured on data with known truth."""
