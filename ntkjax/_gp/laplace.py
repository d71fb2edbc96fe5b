"""A classifier by Laplace's approximation: what it knows of labelled points."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._gp.ascent import in_float64
from ntkjax._gp.covariance import Covariance, in_chunks
from ntkjax._gp.logistic import Logistic, logistic
from ntkjax._gp.softmax import Softmax, softmax
from ntkjax._solve.factor import factorized
from ntkjax._solve.regularizer import UNREGULARIZED


@dataclasses.dataclass(frozen=True)
class Laplace:
    """Labelled points and the mode of the posterior.

    `one_hot` is `(n, n_classes)` and `kernel` the covariance `(n, n)`. `mode` has one function of
    two classes, and one for each of more.
    """

    covariance: Covariance
    x: Array
    one_hot: Array
    kernel: Array
    mode: Logistic | Softmax

    def probabilities(self, x: Array, draws: int, key: Array) -> Array:
        """Of the classes at points, `(m, n_classes)`."""

        def of_chunk(part: Array) -> tuple[Array, ...]:
            cross, prior = self.covariance.with_points(part, self.x, self.kernel.dtype)
            return self.mode.latent(cross, prior)

        mean, spread = in_chunks(x.astype(self.x.dtype), of_chunk)
        return self.mode.probabilities(mean, spread, draws, key)

    def log_marginal_likelihood(self) -> Array:
        """The approximation of the log probability of the labels."""
        return self.mode.log_evidence

    @property
    def data(self) -> Array:
        """The labels."""
        return self.one_hot


def laplace(covariance: Covariance, x: Array, one_hot: Array) -> Laplace:
    """What labels `(n, n_classes)` teach of points."""
    kernel = covariance.matrix(x)
    # The approximation would take a kernel that is none, if its eigenvalues are not below -4.
    factorized(kernel, "kernel_fn(x)", UNREGULARIZED, mends=True)
    labels = one_hot.astype(kernel.dtype)
    mode = mode_of(kernel, labels)
    if not np.isfinite(mode.log_evidence):
        raise ValueError(
            "laplace: the mode of the posterior was not found, as kernel_fn(x) is close to "
            f"singular and has variances up to {float(jnp.max(jnp.diagonal(kernel))):.2g}: give "
            "the network smaller W_std and b_std, or pass likelihood='dirichlet'"
        )
    return Laplace(covariance, x, labels, kernel, mode)


def mode_of(kernel: Array, one_hot: Array) -> Logistic | Softmax:
    """The mode for a covariance `(n, n)` and labels `(n, n_classes)`."""
    n, classes = one_hot.shape
    if classes == 2:
        return logistic(kernel, one_hot, jnp.zeros((1, n), kernel.dtype))
    return softmax(kernel, one_hot, jnp.zeros((classes, n), kernel.dtype))


@jax.custom_jvp
def log_evidence(kernel: Array, one_hot: Array) -> Array:
    """The log marginal likelihood of labels, approximated; it has derivatives by the covariance."""
    return mode_of(kernel, one_hot).log_evidence


@log_evidence.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    value, slope = _value_and_slope(*primals)
    return value, jnp.sum(slope * tangents[0])


@in_float64
def _value_and_slope(kernel: Array, one_hot: Array) -> tuple[Array, Array]:
    return jax.value_and_grad(lambda k: mode_of(k, one_hot).log_evidence)(kernel)
