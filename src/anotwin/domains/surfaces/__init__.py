"""Surfaces of parts and materials: tiles of images at their native resolution."""
