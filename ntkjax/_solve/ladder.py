r"""A lower factor of a matrix that rounding has made singular: Cholesky, jitter, eigenvalues.

The steps, each taken where the one before fails:

1. the Cholesky factor :math:`L L^T = A`;
2. that of :math:`A + j I`, with a jitter j of 1, 10, 100, ... roundings of the largest entry of the
   diagonal, up to the error that the factorization of so many points makes anyway;
3. the factor of :math:`V \max(\Lambda, c) V^T`, with :math:`A = V \Lambda V^T` and c a few
   roundings of the largest eigenvalue. With :math:`Q R = \max(\Lambda, c)^{1/2} V^T` it is
   :math:`R^T`, so that callers meet one kind of factor, whatever it took.

Which step was taken is a value, so the same program runs under `jit`. Example: of two equal points,
A = [[1, 1], [1, 1]] has pivots 1 and 0; in float64 the first jitter, 2.2e-16, leaves a pivot of
4.4e-16, which is not beyond rounding, and the second one does.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._solve.regularizer import diagonal_of, shifted

#: The numbers of the steps.
CHOLESKY, JITTER, EIGEN = 0, 1, 2


@jax.jit
def cholesky(matrix: Array, shift: Array) -> Array:
    """The lower factor of a matrix plus a shift; in one program, so that it takes its place."""
    return jnp.linalg.cholesky(shifted(matrix, shift), symmetrize_input=False)


@jax.jit
def is_factor(lower: Array, diagonal: Array) -> Array:
    """Whether the matrix of a diagonal was positive definite beyond rounding."""
    pivots = diagonal_of(lower) ** 2
    # A pivot is what is left of a diagonal entry: below a few roundings of it, it is noise.
    return jnp.all(pivots > 4 * jnp.finfo(lower.dtype).eps * diagonal)


def jitters(diagonal: Array) -> tuple[Array, Array]:
    """The smallest jitter and the largest, for a matrix of a diagonal."""
    size, kind = len(diagonal), jnp.finfo(diagonal.dtype)
    top = jnp.max(jnp.abs(diagonal), initial=0)
    first = float(kind.eps) * top + kind.tiny
    # An infinite one would never be passed: a diagonal that overflows has no jitter.
    return first, jnp.minimum(first * max(10.0 * size, 100.0), kind.max)


def rounding(eigenvalues: Array) -> Array:
    """How negative an eigenvalue may be, of those in ascending order, by rounding alone."""
    top = jnp.maximum(jnp.abs(eigenvalues[0]), jnp.abs(eigenvalues[-1]))
    return 10 * jnp.finfo(eigenvalues.dtype).eps * len(eigenvalues) * top


@jax.jit
def eigen_factor(matrix: Array, shift: Array) -> tuple[Array, Array, Array]:
    """The lower factor by eigenvalues, these, and what the smallest of them was raised by."""
    values, vectors = jnp.linalg.eigh(shifted(matrix, shift), symmetrize_input=False)
    eps = float(jnp.finfo(values.dtype).eps)
    floor = 4 * eps * jnp.max(jnp.abs(values)) + jnp.finfo(values.dtype).tiny / eps
    raised = jnp.maximum(values, floor)
    upper = jnp.linalg.qr(jnp.sqrt(raised)[:, None] * vectors.T, mode="r")
    signs = jnp.where(diagonal_of(upper) < 0, -1, 1).astype(upper.dtype)
    return (upper * signs[:, None]).T, values, raised[0] - values[0]


def notes_of(step: int, jitter: Any, smallest: Any, lower: Array, least: Any = 0) -> Array:
    """How a factor came about: `[step, jitter, smallest eigenvalue, least one]`, in its dtype.

    The least one is the eigenvalue, negative or 0, below which the smallest is no rounding.
    """
    numbers = step, jitter, smallest, least
    return jnp.stack([jnp.asarray(number, lower.dtype) for number in numbers])


@jax.custom_jvp
def laddered(matrix: Array) -> tuple[Array, Array]:
    """A lower factor and its notes, whose smallest eigenvalue is 0 but at the last step.

    All values, so that it may be traced; never NaN for a finite matrix. Its derivatives are those
    of the factor, the jitter being a constant.
    """
    diagonal, zero = diagonal_of(matrix), jnp.zeros((), matrix.dtype)
    first, last = jitters(diagonal)
    plain = cholesky(matrix, zero)

    def stands(state: tuple[Array, Array]) -> Array:
        return is_factor(state[1], diagonal + state[0])

    def climb() -> tuple[Array, Array]:
        def higher(state: tuple[Array, Array]) -> tuple[Array, Array]:
            return 10 * state[0], cholesky(matrix, 10 * state[0])

        def goes_on(state: tuple[Array, Array]) -> Array:
            return ~stands(state) & (10 * state[0] <= last)

        state = jax.lax.while_loop(goes_on, higher, (first, cholesky(matrix, first)))

        def by_eigenvalues() -> tuple[Array, Array]:
            lower, values, raised = eigen_factor(matrix, zero)
            return lower, notes_of(EIGEN, raised, values[0], lower, -rounding(values))

        return jax.lax.cond(
            stands(state),
            lambda: (state[1], notes_of(JITTER, state[0], 0, state[1])),
            by_eigenvalues,
        )

    at_once = plain, notes_of(CHOLESKY, 0, 0, plain)
    return jax.lax.cond(stands((zero, plain)), lambda: at_once, climb)


@laddered.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    """DL = L Φ(L⁻¹ dA L⁻ᵀ), Φ the lower triangle with half the diagonal (Murray 2016)."""
    lower, notes = laddered(*primals)
    (change,) = tangents
    change = (change + change.T) / 2
    solve = partial(jax.scipy.linalg.solve_triangular, lower, lower=True)
    inner = solve(solve(change).T)
    half = jnp.tril(inner) - jnp.diag(diagonal_of(inner)) / 2
    product = jnp.matmul(lower, half, precision=jax.lax.Precision.HIGHEST)
    return (lower, notes), (product, jnp.zeros_like(notes))
