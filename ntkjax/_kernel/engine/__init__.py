"""Carries a plan out: inputs, single images, diagonals of pairs, tiles."""
