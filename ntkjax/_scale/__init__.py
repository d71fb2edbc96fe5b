"""Kernels of more points than fit: cut into batches, put together where there is room."""
