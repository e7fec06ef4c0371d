"""Kinds of images: one folder a domain, and a line in the registry."""
