"""Kinds of images: one folder per domain, and a line in the registry."""
