"""What labels say: the only place where they enter."""
