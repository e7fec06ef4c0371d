"""From a query to its latents: the objective and the descent."""
