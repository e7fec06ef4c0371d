"""Findings as pictures and tables."""
