"""Metrics from labels; no other part uses labels to measure."""
