"""Gaussian processes whose covariance is the kernel of an infinitely wide network."""
