"""The kernel floor: how kernels are stored, planned and computed."""
