"""Surveillance video: clips of frames, what does not belong in them, when and where."""
