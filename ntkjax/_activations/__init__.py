"""Dual activations: one file a family, pointwise maths with its source."""
