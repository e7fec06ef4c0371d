"""Synthetic footage of a walkway with exact masks and tracks of what does not belong there."""
