"""Ways to get a counterpart: one method, one file."""
