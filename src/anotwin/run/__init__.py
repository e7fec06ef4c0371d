"""Scoring as a stream, and the device it runs on."""
