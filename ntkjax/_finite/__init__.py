"""Kernels of finite networks, from their parameters."""
