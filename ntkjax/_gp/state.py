"""What a process knows once it is fitted, and what follows for other points."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._gp.arguments import mean_at
from ntkjax._gp.covariance import Covariance, in_chunks
from ntkjax._gp.scaling import Scaling, scaling_of
from ntkjax._inference.arguments import common_dtype
from ntkjax._inference.variances import check_variances
from ntkjax._solve.factor import Factor, factorized, whitened
from ntkjax._solve.ladder import cholesky, is_factor, laddered
from ntkjax._solve.refinement import refined_solve
from ntkjax._solve.regularizer import UNREGULARIZED, Regularizer, diagonal_of, shifted
from ntkjax._solve.symmetric import highest, symmetric_part

#: What messages call the covariance of the training points, and it with that of other points.
_KERNEL, _KERNELS = "kernel_fn(x)", "kernel_fn(x1, x2) and kernel_fn(x)"


@dataclasses.dataclass(frozen=True)
class State:
    """Training points and the solve with their covariance.

    `y` is `(n, k)` in the units of the user; `right` is what is left of it without mean and scale,
    and `weights` the inverse of the covariance times that. `noise` is a number or `(n,)`;
    `is_vector` says whether targets came as `(n,)`.
    """

    covariance: Covariance
    x: Array
    y: Array
    noise: Array
    x_scaling: Scaling
    y_scaling: Scaling
    right: Array
    factor: Factor
    weights: Array
    is_vector: bool

    def shaped(self, columns: Array) -> Array:
        """Columns `(m, k)` as the targets of the user are laid out."""
        return columns[:, 0] if self.is_vector else columns

    def scaled(self, x: Array) -> Array:
        """Points as the kernel sees them."""
        return self.x_scaling.scaled(x.astype(self.x.dtype))

    def predicted(self, x: Array) -> tuple[Array, ...]:
        """Mean `(m, k)` and variance `(m,)` at points, both scaled."""
        return in_chunks(x, lambda part: self.moments(*self.kernels(part)))

    def kernels(self, x: Array) -> tuple[Array, Array]:
        """The covariance of scaled points with the training points, and their variances."""
        return self.covariance.with_points(x, self.scaled(self.x), self.weights.dtype)

    def moments(self, cross: Array, prior: Array) -> tuple[Array, Array]:
        """Mean `(m, k)` and variance `(m,)`, both scaled, of what `kernels` returns."""
        mean, variance = _moments(self.factor.upper, self.weights, cross, prior)
        check_variances(_KERNELS, variance, prior)
        return mean, jnp.maximum(variance, 0)

    def posterior(self, x: Array) -> tuple[Array, Array]:
        """Mean `(m, k)` and covariance `(m, m)` at points, both scaled."""
        cross = self.covariance.cross(x, self.scaled(self.x)).astype(self.weights.dtype)
        prior = self.covariance.matrix(x).astype(cross.dtype)
        mean, covariance = _joint(self.factor.upper, self.weights, cross, prior)
        check_variances(_KERNELS, diagonal_of(covariance), diagonal_of(prior))
        return mean, covariance

    def inverse_diagonal(self) -> Array:
        """The diagonal of the inverse of the covariance, `(n,)`, some columns at a time."""
        n, dtype = len(self.x), self.weights.dtype

        def of_columns(places: Array) -> tuple[Array, ...]:
            columns = jnp.zeros((n, len(places)), dtype).at[places, jnp.arange(len(places))].set(1)
            return (jnp.sum(self.factor.whiten(columns) ** 2, axis=0),)

        return in_chunks(jnp.arange(n), of_columns)[0]

    def back(self, x: Array, scaled_mean: Array, mean: Any) -> Array:
        """A scaled mean `(m, k)` at points, in the units of the user."""
        prior = mean_at(mean, x, scaled_mean)
        return prior + self.y_scaling.back(scaled_mean)


def fitted(
    covariance: Covariance,
    x: Array,
    y: Array,
    noise: Array,
    mean: Any,
    standardize_x: bool = False,
    standardize_y: bool = False,
    matrix: Array | None = None,
) -> State:
    """The state of a process that has seen targets `(n,)` or `(n, k)`.

    `matrix` is the covariance of the points, where it is known already.
    """
    is_vector = y.ndim == 1
    y = y.reshape(len(x), -1)
    x_scaling = scaling_of(x, standardize_x)
    if matrix is None:
        matrix = covariance.matrix(x_scaling.scaled(x))
    dtype = common_dtype(y, matrix)
    matrix, y, noise = matrix.astype(dtype), y.astype(dtype), noise.astype(dtype)
    prior_mean = mean_at(mean, x, y)
    y_scaling = scaling_of(y - prior_mean, standardize_y)
    right = y_scaling.scaled(y - prior_mean)
    factor = _factor(matrix, noise)
    weights = refined_solve(factor, matrix, _KERNEL, noise, right)
    return State(covariance, x, y, noise, x_scaling, y_scaling, right, factor, weights, is_vector)


def _factor(matrix: Array, noise: Array) -> Factor:
    if noise.ndim:
        name = f"{_KERNEL} with the noise of each point"
        return factorized(shifted(matrix, noise), name, UNREGULARIZED, mends=True)
    return factorized(matrix, _KERNEL, Regularizer("noise", noise, True), mends=True)


def extended(
    state: State,
    x: Array,
    y: Array,
    noise: Array,
    mean: Any,
    blocks: tuple[Array, Array] | None = None,
) -> State:
    r"""The state after more points, by the block that they add to the factor.

    .. math::
        L = \begin{pmatrix} L_1 & 0 \\ B & L_2 \end{pmatrix}, \quad B = A_{21} L_1^{-T}, \quad
        L_2 L_2^T = A_{22} - B B^T.

    The scales of inputs and targets stay as they were. Where the new block is not positive definite
    beyond rounding, all is factorized again. `blocks` are :math:`A_{12}` and :math:`A_{22}` without
    noise, where they are known already.
    """
    old, new = state.scaled(state.x), state.scaled(x)
    dtype = state.weights.dtype
    y, noise = y.astype(dtype), noise.astype(dtype)
    all_x = jnp.concatenate([state.x, x.astype(state.x.dtype)])
    all_y = jnp.concatenate([state.y, y])
    right = jnp.concatenate([state.right, state.y_scaling.scaled(y - mean_at(mean, x, y))])
    all_noise = state.noise
    if noise.ndim or state.noise.ndim:
        parts = (state.noise, len(old)), (noise, len(new))
        all_noise = jnp.concatenate([jnp.broadcast_to(part, (n,)) for part, n in parts])
    if blocks is None:
        blocks = state.covariance.cross(old, new), state.covariance.matrix(new)
    cross, own = (block.astype(dtype) for block in blocks)
    own = shifted(own, noise)
    below = state.factor.whiten(cross).T
    rest = own - highest(below, below.T)
    corner = cholesky(rest, jnp.zeros((), dtype))
    # What is left of the diagonal must be more than a rounding of what was there.
    if not is_factor(corner, jnp.diagonal(own)):
        matrix = state.covariance.matrix(jnp.concatenate([old, new])).astype(dtype)
        factor = _factor(matrix, all_noise)
    else:
        right_part = jnp.concatenate([below.T, corner.T])
        upper = jnp.pad(state.factor.upper, ((0, len(new)), (0, 0)))
        factor = Factor(jnp.concatenate([upper, right_part], axis=1), state.factor.notes)
    return dataclasses.replace(
        state,
        x=all_x,
        y=all_y,
        noise=all_noise,
        right=right,
        factor=factor,
        weights=factor.solve(right),
    )


@jax.jit
def _moments(upper: Array, weights: Array, cross: Array, prior: Array) -> tuple[Array, Array]:
    white = whitened(upper, cross.T)
    variance = prior - jnp.sum(white**2, axis=0)
    return highest(cross, weights), variance


@jax.jit
def _joint(upper: Array, weights: Array, cross: Array, prior: Array) -> tuple[Array, Array]:
    white = whitened(upper, cross.T)
    covariance = prior - highest(white.T, white)
    return highest(cross, weights), symmetric_part(covariance)


@jax.jit
def gaussian_draws(covariance: Array, normal: Array) -> Array:
    """Draws of a covariance `(m, m)` from independent normal numbers `(count, m, k)`."""
    lower, _ = laddered(covariance)
    return jnp.einsum("ij,cjk->cik", lower, normal, precision=jax.lax.Precision.HIGHEST)
