"""Retinal optical coherence tomography: B-scans and volumes, seen as patches of the flattened retina."""
