"""What eigenvalues and eigenvectors of a kernel say of learning with it."""
