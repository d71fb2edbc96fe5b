"""The words of the kernel recursion: signals, diagonals, windows, pairs, operations, graphs."""
