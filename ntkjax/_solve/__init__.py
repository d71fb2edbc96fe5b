"""Solves with kernels of training points, which say what they did and why they failed."""
