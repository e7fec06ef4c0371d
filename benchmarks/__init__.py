"""Benchmarks, each run as ``python benchmarks/NAME``; `benchmarks.common` is what they share."""
