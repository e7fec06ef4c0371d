"""Synthetic OCT scans with known layers and lesions."""
