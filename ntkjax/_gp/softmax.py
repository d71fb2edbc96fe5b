r"""Several classes with the softmax likelihood, by Laplace's approximation.

Each of C classes has a function :math:`f_c` of covariance K, and a point is of class c with
probability :math:`\pi_c = e^{f_c} / \sum_b e^{f_b}`. The mode is :math:`\hat f_c = K (y_c -
\pi_c)`, with y one-hot, and the curvature there couples the classes of each point:
:math:`W = D - \Pi \Pi^T`, with :math:`D = \mathrm{diag}\, \pi` and :math:`\Pi` the diagonal
matrices of the :math:`\pi_c` above each other (Rasmussen and Williams 2006, section 3.5,
algorithms 3.3 and 3.4). With R the identities above each other,

.. math::
    E_c = D_c^{1/2} (I + D_c^{1/2} K D_c^{1/2})^{-1} D_c^{1/2}, \quad
    M M^T = \sum_c E_c, \quad
    (K + W^{-1})^{-1} = E - E R (M M^T)^{-1} R^T E,

so that a step takes C factorizations of n points and one more, not that of C n points. The
logarithm of :math:`|I + W^{1/2} K W^{1/2}|` is the sum of those of :math:`|I + D_c^{1/2} K
D_c^{1/2}|` and of :math:`|M M^T|`, since :math:`I - R^T D (K^{-1} + D)^{-1} D R = \sum_c E_c`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._gp.ascent import at_mode, climbed, in_float64
from ntkjax._solve.factor import cholesky_solve
from ntkjax._solve.ladder import cholesky
from ntkjax._solve.symmetric import highest


class Softmax(NamedTuple):
    """The approximation at its mode.

    `coefficients`, `values` and `slope` are a, f and y - pi, each `(C, n)`; `inner` holds the
    matrices E, `(C, n, n)`, and `lower` is M. All but the evidence are float64.
    """

    coefficients: Array
    values: Array
    slope: Array
    inner: Array
    lower: Array
    log_evidence: Array

    def latent(self, cross: Array, prior: Array) -> tuple[Array, Array]:
        """Mean `(m, C)` and covariance `(m, C, C)` of the functions at points."""
        return _latent(self.slope, self.inner, self.lower, cross, prior)

    def probabilities(self, mean: Array, covariance: Array, draws: int, key: Array) -> Array:
        """Of the classes, `(m, C)`, the mean over draws of the functions."""
        normal = jax.random.normal(key, (draws, *mean.shape), mean.dtype)
        return _mean_softmax(mean, covariance, normal)


@in_float64
def softmax(kernel: Array, one_hot: Array, start: Array) -> Softmax:
    """The approximation for a kernel `(n, n)` and labels `(n, C)`, from coefficients `(C, n)`."""
    k, y = kernel.astype(np.float64), one_hot.T.astype(np.float64)

    def log_likelihood(f: Array) -> Array:
        return jnp.sum(y * jax.nn.log_softmax(f, axis=0))

    def newton(f: Array) -> Array:
        p, inner, lower, _ = _curvature(k, f)
        right = p * f - p * jnp.sum(p * f, axis=0, keepdims=True) + y - p
        c = _each(inner, highest(right, k))
        shared = cholesky_solve(lower, jnp.sum(c, axis=0))
        return right - c + _each(inner, shared[None])

    a, f = climbed(newton, log_likelihood, k, start.astype(np.float64))
    p, inner, lower, half_log_det = _curvature(k, f)
    evidence = log_likelihood(f) - 0.5 * jnp.sum(a * f) - half_log_det
    evidence = at_mode(evidence, a, y - p).astype(kernel.dtype)
    return Softmax(a, f, y - p, inner, lower, evidence)


def _each(matrices: Array, vectors: Array) -> Array:
    """The products of matrices `(C, n, n)` and as many vectors `(C, n)`, or with one `(1, n)`."""
    vectors = jnp.broadcast_to(vectors, matrices.shape[:2])
    return highest(matrices, vectors[:, :, None])[:, :, 0]


def _curvature(kernel: Array, f: Array) -> tuple[Array, Array, Array, Array]:
    """Probabilities, the matrices E, M, and half of the logarithm of the determinant."""
    log_p = jax.nn.log_softmax(f, axis=0)

    def of_class(log_p: Array) -> tuple[Array, Array]:
        root = jnp.exp(log_p / 2)
        lower = cholesky(root[:, None] * kernel * root[None], jnp.ones((), kernel.dtype))
        whitened = jax.scipy.linalg.solve_triangular(lower, jnp.diag(root), lower=True)
        return highest(whitened.T, whitened), jnp.sum(jnp.log(jnp.diagonal(lower)))

    inner, halves = jax.lax.map(of_class, log_p)
    lower = cholesky(jnp.sum(inner, axis=0), jnp.zeros((), kernel.dtype))
    half_log_det = jnp.sum(halves) + jnp.sum(jnp.log(jnp.diagonal(lower)))
    return jnp.exp(log_p), inner, lower, half_log_det


@in_float64
def _latent(
    slope: Array, inner: Array, lower: Array, cross: Array, prior: Array
) -> tuple[Array, Array]:
    dtype = cross.dtype
    cross, prior = cross.astype(np.float64), prior.astype(np.float64)
    known = highest(inner, cross.T[None])
    explained = jnp.sum(known * cross.T[None], axis=1).T
    own = jnp.maximum(prior[:, None] - explained, 0)

    def whiten(right: Array) -> Array:
        return jax.scipy.linalg.solve_triangular(lower, right, lower=True)

    shared = jnp.moveaxis(jax.lax.map(whiten, known), 2, 0)
    covariance = highest(shared, jnp.swapaxes(shared, 1, 2))
    covariance = covariance + jax.vmap(jnp.diag)(own)
    return highest(cross, slope.T).astype(dtype), covariance.astype(dtype)


@jax.jit
def _mean_softmax(mean: Array, covariance: Array, normal: Array) -> Array:
    values, vectors = jnp.linalg.eigh(covariance)
    root = vectors * jnp.sqrt(jnp.maximum(values, 0))[:, None, :]
    moved = jnp.einsum("mcd,smd->smc", root, normal, precision=jax.lax.Precision.HIGHEST)
    return jnp.mean(jax.nn.softmax(mean[None] + moved, axis=-1), axis=0)
