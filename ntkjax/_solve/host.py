r"""Cholesky's factorization on the host, in the memory of its result.

LAPACK, as JAX calls it, needs a copy of the matrix, and its result takes another one: three
matrices at the peak. Here the factor is made by blocks of rows, from the top: with :math:`A = U^T
U` and i the rows of a block,

.. math::
    U_{i,j} = U_{i,i}^{-T} \Big( A_{i,j} - \sum_{k < i} U_{k,i}^T U_{k,j} \Big),

(Golub and Van Loan 2013, section 4.2), which needs no more than U, whose rows below the diagonal
are never written, and a block. Nearly all of the work is in the products. Example: of [[4, 2], [2,
5]] with blocks of one row, the first is [2, 1], and the second 5 - 1 = 4, with the root 2.
"""

import jax
import numpy as np
from jax import Array

from ntkjax._kernel.arrays import is_on_host

#: Rows of a block, and the alignment with which JAX takes an array of NumPy as it is.
_ROWS, _ALIGNMENT = 64, 64


def factors_here(matrix: Array) -> bool:
    """Whether a matrix that has values is where NumPy reads it."""
    return is_on_host(matrix) and len(matrix.devices()) == 1


def host_cholesky(matrix: Array, shift: Array) -> Array | None:
    """The upper factor U of a matrix plus a shift, U^T U; None where that is not positive."""
    given, added = np.asarray(matrix), np.asarray(shift, matrix.dtype)
    n = len(given)
    upper = _zeros(n, given.dtype)
    for i in range(0, n, _ROWS):
        j = min(i + _ROWS, n)
        rest = upper[:i, i:j].T @ upper[:i, i:]
        np.subtract(given[i:j, i:], rest, out=rest)
        corner = rest[:, : j - i]
        corner[np.diag_indices(j - i)] += np.broadcast_to(added, (n,))[i:j]
        try:
            lower = np.linalg.cholesky(corner)
        except np.linalg.LinAlgError:
            return None
        upper[i:j, i:j] = lower.T
        upper[i:j, j:] = np.linalg.solve(lower, rest[:, j - i :])
    (device,) = matrix.devices()
    return jax.device_put(upper, device)


def _zeros(n: int, dtype: np.dtype) -> np.ndarray:
    """Zeros `(n, n)` that JAX takes without a copy; pages that are not written take no memory."""
    size = n * n * dtype.itemsize
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(n, n)
