"""Planted defects with exact masks: to train with, to choose by, to measure with."""
