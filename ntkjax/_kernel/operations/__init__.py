"""The operations on kernels, one a file; every layer is made of them."""
