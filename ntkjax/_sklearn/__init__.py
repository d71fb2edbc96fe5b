"""Estimators for scikit-learn: parameters, kernels of rows, the cache of pairs, models."""
