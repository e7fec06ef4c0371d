"""From scores of held-out normals to a decision."""
