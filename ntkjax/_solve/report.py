"""What a solve tells of itself: by which method, with how much jitter, of which eigenvalues."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._solve.symmetric import highest

#: Names of the steps of `ladder`.
METHODS = ("cholesky", "jitter", "eigendecomposition")
#: Steps of Lanczos' method from which extreme eigenvalues are read.
_STEPS = 30


class SolveReport(NamedTuple):
    """How a kernel matrix was factorized, and how close to singular it is.

    The eigenvalues are estimates by Lanczos' method with the factor, within a few percent where
    they are beyond rounding; after an eigendecomposition the smallest one is exact.

    Args:
      step: 0, 1 or 2, the number of the method in `method`; a traced integer under `jit`.
      jitter: what was added to the diagonal beyond what the caller asked for; by the
        eigendecomposition, the most that an eigenvalue was raised by. 0 after a plain Cholesky.
      smallest_eigenvalue: of the matrix, with the caller's regulariser, before any jitter.
      largest_eigenvalue: likewise.
      condition_number: of the matrix that was solved with, jitter and all. Times the rounding of
        the dtype (1e-7, 2e-16) it bounds the relative error of a solution.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax.predict import solve
      >>> report = solve(jnp.diag(jnp.array([4.0, 1.0])), jnp.ones(2)).report
      >>> report.method, round(float(report.condition_number), 3)
      ('cholesky', 4.0)
    """

    step: Any
    jitter: Any
    smallest_eigenvalue: Any
    largest_eigenvalue: Any
    condition_number: Any

    @property
    def method(self) -> str:
        """The method in words: "cholesky", "jitter" or "eigendecomposition"."""
        if not is_concrete(self.step):
            raise TypeError(
                "SolveReport: the method is not known while it is traced: return the report from "
                "the jitted function and ask it there, or use `step`, an integer array"
            )
        return METHODS[int(self.step)]

    def __str__(self) -> str:
        method = self.method if is_concrete(self) else f"method {self.step}"
        return (
            f"{method}, jitter {self.jitter:.2g}, smallest eigenvalue "
            f"{self.smallest_eigenvalue:.3g}, largest {self.largest_eigenvalue:.3g}, condition "
            f"number {self.condition_number:.2g}"
        )


def report_of(upper: Array, notes: Array) -> SolveReport:
    """The report of a factor U and of the notes that came with it."""
    step, jitter, smallest = notes[0], notes[1], notes[2]
    low, high = extreme_eigenvalues(upper)
    is_exact = step > 1.5
    return SolveReport(
        step.astype(jnp.int32),
        jitter,
        jnp.where(is_exact, smallest, low - jitter),
        jnp.where(is_exact, high, high - jitter),
        high / low,
    )


@jax.jit
def extreme_eigenvalues(upper: Array) -> tuple[Array, Array]:
    """The smallest and the largest eigenvalue of Uᵀ U, by Lanczos' method with both it and U."""
    if not len(upper):
        return jnp.ones((), upper.dtype), jnp.ones((), upper.dtype)
    # Of the matrix in units of the square of U's largest entry, with which nothing overflows. The
    # vectors are scaled, not the factor, which would take another matrix.
    root = jnp.max(jnp.abs(upper))
    unit = root**2

    def inverse(vector: Array) -> Array:
        return root * jax.scipy.linalg.cho_solve((upper.T, True), root * vector)

    def product(vector: Array) -> Array:
        # The vector from the left: Uᵀ from the left would be a copy of U.
        return highest(highest(upper, vector / root), upper) / root

    high = _largest(product, len(upper), upper.dtype)
    return unit / _largest(inverse, len(upper), upper.dtype), unit * high


def _largest(apply: Any, size: int, dtype: Any) -> Array:
    """The largest eigenvalue of a positive definite map of vectors."""
    steps = min(_STEPS, size)
    start = jax.random.normal(jax.random.key(0), (size,), dtype)
    basis = jnp.zeros((steps, size), dtype).at[0].set(start / jnp.linalg.norm(start))

    def extend(basis: Array, i: Array) -> tuple[Array, None]:
        new = apply(basis[i])
        for _ in range(2):  # against all vectors before, twice, so that they stay orthogonal
            new = new - highest(basis.T, highest(basis, new))
        length = jnp.linalg.norm(new)
        new = jnp.where(length > 0, new / jnp.where(length > 0, length, 1), 0)
        return basis.at[i + 1].set(new), None

    basis, _ = jax.lax.scan(extend, basis, jnp.arange(steps - 1))
    images = jax.lax.map(apply, basis)
    small = highest(basis, images.T)
    return jnp.max(jnp.linalg.eigvalsh((small + small.T) / 2))
