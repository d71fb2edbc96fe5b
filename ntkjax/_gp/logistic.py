r"""Two classes with the logistic likelihood, by Laplace's approximation.

A point is of the second class with probability :math:`\sigma(f) = 1 / (1 + e^{-f})`. The posterior
of f at the training points is replaced by the Gaussian at its mode with the curvature that it has
there: with t = 1 for the second class and 0 for the first,

.. math::
    \hat f = K (t - \sigma(\hat f)), \quad W = \mathrm{diag}\, \sigma (1 - \sigma), \quad
    q(f | y) = \mathcal{N}(\hat f, (K^{-1} + W)^{-1}).

K is never inverted: all goes by :math:`B = I + W^{1/2} K W^{1/2}`, whose eigenvalues are at least
1 (Rasmussen and Williams 2006, sections 3.4 and 3.7.3, algorithms 3.1 and 3.2). Example: of one
point of the second class whose prior variance is 4, the mode is 1.04 and W is 0.19, so that the
variance of the posterior is 1 / (1/4 + 0.19) = 2.26.
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


class Logistic(NamedTuple):
    """The approximation at its mode.

    `coefficients` and `values` are a and f, `(1, n)`; `slope` is the derivative t - sigma of the
    log likelihood, `root` that of W, both `(n,)`; `lower` is the factor of B. All but
    the evidence are float64.
    """

    coefficients: Array
    values: Array
    slope: Array
    root: Array
    lower: Array
    log_evidence: Array

    def latent(self, cross: Array, prior: Array) -> tuple[Array, Array]:
        """Mean and variance `(m,)` of f at points, of their covariances `(m, n)` and variances."""
        return _latent(self.slope, self.root, self.lower, cross, prior)

    def probabilities(self, mean: Array, variance: Array, draws: int, key: Array) -> Array:
        """Of both classes, `(m, 2)`; exact, and without any draw."""
        share = expected_sigmoid(mean, variance)
        return jnp.stack([1 - share, share], axis=1)


@in_float64
def logistic(kernel: Array, one_hot: Array, start: Array) -> Logistic:
    """The approximation for a kernel `(n, n)` and labels `(n, 2)`, from coefficients `(1, n)`."""
    k, target = kernel.astype(np.float64), one_hot[:, 1].astype(np.float64)

    def log_likelihood(f: Array) -> Array:
        return jnp.sum(jax.nn.log_sigmoid((2 * target - 1) * f[0]))

    def newton(f: Array) -> Array:
        slope, root, lower = _curvature(k, target, f[0])
        b = root**2 * f[0] + slope
        return (b - root * cholesky_solve(lower, root * highest(k, b)))[None]

    a, f = climbed(newton, log_likelihood, k, start.astype(np.float64))
    slope, root, lower = _curvature(k, target, f[0])
    half_log_det = jnp.sum(jnp.log(jnp.diagonal(lower)))
    evidence = log_likelihood(f) - 0.5 * jnp.sum(a * f) - half_log_det
    evidence = at_mode(evidence, a[0], slope).astype(kernel.dtype)
    return Logistic(a, f, slope, root, lower, evidence)


def _curvature(kernel: Array, target: Array, f: Array) -> tuple[Array, Array, Array]:
    """The slope of the log likelihood, the root of W, and the factor of B."""
    # By logarithms, the root is positive and has derivatives wherever f may be.
    root = jnp.exp((jax.nn.log_sigmoid(f) + jax.nn.log_sigmoid(-f)) / 2)
    lower = cholesky(root[:, None] * kernel * root[None], jnp.ones((), kernel.dtype))
    return target - jax.nn.sigmoid(f), root, lower


@in_float64
def _latent(
    slope: Array, root: Array, lower: Array, cross: Array, prior: Array
) -> tuple[Array, Array]:
    dtype = cross.dtype
    cross, prior = cross.astype(np.float64), prior.astype(np.float64)
    scaled = root[:, None] * cross.T
    whitened = jax.scipy.linalg.solve_triangular(lower, scaled, lower=True)
    variance = jnp.maximum(prior - jnp.sum(whitened**2, axis=0), 0)
    return highest(cross, slope).astype(dtype), variance.astype(dtype)


@jax.jit
def expected_sigmoid(mean: Array, variance: Array) -> Array:
    r"""The mean of the logistic function of Gaussians, to rounding.

    .. math::
        \int \sigma(f) \mathcal{N}(f | m, s^2) \,df
        = \int \sigma'(u) \Phi\!\left(\frac{m - u}{s}\right) du.

    Where s is below 1 the left side is integrated, by Gauss-Hermite quadrature, elsewhere the right
    one, by the trapezoidal rule: each is smooth where it is taken.
    """
    std = jnp.sqrt(variance)[:, None]
    nodes, weights = (jnp.asarray(part, mean.dtype) for part in _HERMITE)
    inside = jnp.minimum(std, 1)
    narrow = highest(jax.nn.sigmoid(mean[:, None] + inside * nodes[None]), weights)
    grid, density = (jnp.asarray(part, mean.dtype) for part in _GRID)
    outside = jnp.maximum(std, 1)
    wide = highest(jax.scipy.stats.norm.cdf((mean[:, None] - grid[None]) / outside), density)
    return jnp.where(std[:, 0] < 1, narrow, wide)


def _hermite(size: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(size)
    return nodes, weights / np.sqrt(2 * np.pi)


def _grid(step: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the trapezoidal rule and the logistic density times its step."""
    nodes = np.arange(-end, end + step / 2, step)
    return nodes, step / (4 * np.cosh(nodes / 2) ** 2)


_HERMITE, _GRID = _hermite(32), _grid(0.5, 38.0)
