"""A query beside its counterpart: differences, scores, heatmaps."""
