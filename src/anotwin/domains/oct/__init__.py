"""Retinal optical coherence tomography: B-scans and volumes, scored as patches of the flattened retina."""
