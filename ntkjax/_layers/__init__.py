"""The layers: triples `(init_fn, apply_fn, kernel_fn)`, one idea a file."""
