"""Solves, Gaussian process posteriors and gradient flow, from kernel matrices alone."""
