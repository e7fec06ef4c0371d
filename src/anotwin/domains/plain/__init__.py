"""Whole images, each resized to the square of the model."""
