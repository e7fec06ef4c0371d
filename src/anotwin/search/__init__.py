"""From a query to its latents: the loss and the descent."""
