"""The commands beside fit, validate, test and predict."""
