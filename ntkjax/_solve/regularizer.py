"""What is added to the diagonal of a training kernel, and how little of it would do."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

#: Up to this factor, the strength that is found is the smallest with which a solve succeeds.
_PRECISION = 2.0


class Regularizer(NamedTuple):
    """A multiple of the identity, added to a matrix; named as the argument that the user set.

    The name is empty where there is no such argument.
    """

    name: str
    strength: Any
    absolute: bool

    def unit(self, matrix: Array) -> Any:
        """What a strength of 1 adds to the diagonal: 1, or the mean of the diagonal."""
        return 1.0 if self.absolute else jnp.mean(diagonal_of(matrix))


#: That of a function without an argument for it.
UNREGULARIZED = Regularizer("", 0.0, absolute=True)


def regularized(matrix: Array, regularizer: Regularizer) -> Array:
    """The matrix plus the regulariser's multiple of the identity."""
    return shifted(matrix, shift_of(matrix, regularizer))


def shift_of(matrix: Array, regularizer: Regularizer) -> Array:
    """What a regulariser adds to the diagonal of a matrix."""
    return jnp.asarray(regularizer.strength, matrix.dtype) * regularizer.unit(matrix)


def diagonal_of(matrix: Array) -> Array:
    """The diagonal of a matrix, with no other matrix of its size.

    `jnp.diagonal` makes masks, which are arrays where JAX evaluates while it compiles.
    """
    i = jnp.arange(matrix.shape[0])
    return jnp.asarray(matrix).at[i, i].get(indices_are_sorted=True, unique_indices=True)


def shifted(matrix: Array, shift: Array) -> Array:
    """The matrix plus a multiple of the identity, with no other matrix of its size."""
    i = jnp.arange(matrix.shape[0])
    return jnp.asarray(matrix).at[i, i].add(shift, indices_are_sorted=True, unique_indices=True)


def smallest_strength(
    matrix: Array, regularizer: Regularizer, guess: float, succeeds: Callable[[Array], bool]
) -> float | None:
    """The smallest strength of two digits, to within a factor of 2, that makes a solve succeed.

    The solve is tried, since the rounding that decides over it is its own: first at `guess`, then
    at strengths four times larger or smaller until one succeeds and one fails, then between these.
    The strength at hand is known to fail. None where no strength succeeds.
    """
    unit = float(regularizer.unit(matrix))
    diagonal = np.diagonal(np.asarray(matrix, np.float64))
    if not unit > 0 or not np.any(diagonal > 0):
        return None
    # Less than this changes no entry of the diagonal.
    nothing = float(jnp.finfo(matrix.dtype).eps) / 4 * np.min(diagonal[diagonal > 0]) / unit
    fails = max(float(regularizer.strength), nothing)

    def works(strength: float) -> bool:
        with jax.ensure_compile_time_eval():
            return succeeds(regularized(matrix, regularizer._replace(strength=strength)))

    enough = _rounded_up(max(guess, _PRECISION * fails))
    while not works(enough):
        fails, enough = enough, _rounded_up(4 * enough)
        if enough > 1e3 * max(1.0, np.max(np.abs(diagonal)) / unit):
            return None
    while enough > _PRECISION * fails:
        between = _rounded_up(max(math.sqrt(fails * enough), enough / 4))
        if between >= enough:
            break
        if works(between):
            enough = between
        else:
            fails = between
    return enough


def _rounded_up(number: float) -> float:
    """To two significant digits."""
    digit = 10.0 ** (math.floor(math.log10(number)) - 1)
    return float(f"{math.ceil(number / digit - 1e-6) * digit:.1e}")
