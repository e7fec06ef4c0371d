"""Native pixels to model tensors, and back."""
