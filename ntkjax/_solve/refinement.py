r"""Iterative refinement: the digits that a solve in float32 has lost.

A solve with a factor in float32 has a relative error of about :math:`\kappa \epsilon`, with
:math:`\kappa` the condition number and :math:`\epsilon` = 6e-8. The residual :math:`r = b - A x`,
computed in float64 of the same float32 matrix, says what is missing: x + solve(r) has an error that
is smaller by that factor again, until all digits of x are right (Wilkinson 1963; Higham 2002,
*Accuracy and stability of numerical algorithms*, section 12.1). The steps get smaller until they
are roundings of x. Where :math:`\kappa \epsilon` is near 1 they do not, and the solve stays as it
was.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import double_precision
from ntkjax._solve.factor import Factor, factor_solve
from ntkjax._solve.failure import check_solution
from ntkjax._solve.ladder import EIGEN
from ntkjax._solve.symmetric import highest

#: Most refinements, and rows that are converted to float64 at a time.
_STEPS, _ROWS = 5, 64


def refined_solve(factor: Factor, matrix: Array, name: str, shift: Any, right: Array) -> Array:
    """The solution of (matrix + shift) X = right, `(n,)` or `(n, k)`, given its factor.

    Raises ValueError where it overflows; the message calls the matrix `name`.
    """
    solution = _solved(factor, matrix, shift, right)
    check_solution(name, solution)
    return solution


def _solved(factor: Factor, matrix: Array, shift: Any, right: Array) -> Array:
    """The same, whatever comes.

    `shift` is one number, or one for each row; the jitter of the factor is added to it. A float32
    factor is refined; of float64 there is no wider type to refine it in, and what eigenvalues were
    raised in is no longer the matrix. Derivatives are those of the exact solution.
    """
    upper = factor.upper.astype(right.dtype)
    if factor.upper.dtype != np.float32:
        return factor_solve(upper, right)
    columns = right[:, None] if right.ndim == 1 else right
    shift = jnp.broadcast_to(jnp.asarray(shift, matrix.dtype), (len(matrix),)) + factor.jitter
    return _refined(matrix, shift, upper, factor.notes[0] < EIGEN, columns).reshape(right.shape)


@jax.custom_jvp
def _refined(matrix: Array, shift: Array, upper: Array, refines: Array, right: Array) -> Array:
    return _loop(matrix, shift, upper, refines, right)


@_refined.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (_, _, upper, _, _), (d_matrix, d_shift, _, _, d_right) = primals, tangents
    solution = _refined(*primals)
    moved = highest(d_matrix.astype(solution.dtype), solution)
    moved = moved + d_shift.astype(solution.dtype)[:, None] * solution
    return solution, factor_solve(upper, d_right - moved)


@jax.jit
def _loop(matrix: Array, shift: Array, upper: Array, refines: Array, right: Array) -> Array:
    def refine(state: Any) -> Any:
        i, solution, before, _ = state
        step = factor_solve(upper, _residual(matrix, shift, solution, right))
        size = jnp.linalg.norm(step)
        shrinks = size < before / 2
        return i + 1, jnp.where(shrinks, solution + step, solution), size, shrinks

    def goes_on(state: Any) -> Array:
        return state[3] & (state[0] < _STEPS)

    start = factor_solve(upper, right)
    return jax.lax.while_loop(goes_on, refine, (0, start, jnp.linalg.norm(start), refines))[1]


def _residual(matrix: Array, shift: Array, solution: Array, right: Array) -> Array:
    """What is left of the right-hand side, computed in float64, some rows at a time."""
    size = min(_ROWS, len(matrix))
    with double_precision():
        wide = solution.astype(np.float64)

        def add_rows(i: Any, left: Array) -> Array:
            # The last rows overlap those before, which come out the same again.
            begin = jnp.minimum(i * size, len(matrix) - size)

            def rows(array: Array) -> Array:
                return jax.lax.dynamic_slice_in_dim(array, begin, size).astype(np.float64)

            product = highest(rows(matrix), wide) + rows(shift)[:, None] * rows(wide)
            made = (rows(right) - product).astype(left.dtype)
            return jax.lax.dynamic_update_slice_in_dim(left, made, begin, 0)

        count = -(-len(matrix) // size)
        return jax.lax.fori_loop(0, count, add_rows, jnp.zeros_like(right))
