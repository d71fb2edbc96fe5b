"""A classifier by Laplace's approximation: what it knows of labelled points."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._gp.ascent import in_float64
from ntkjax._gp.covariance import Covariance, in_chunks
from ntkjax._gp.logistic import Logistic, logistic
from ntkjax._gp.softmax import Softmax, softmax
from ntkjax._gp.storage import probe_of
from ntkjax._jax_compat import double_precision
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

    def extended(self, x: Array, one_hot: Array) -> "Laplace":
        """What is known after more points: the ascent goes on from the mode of those before."""
        new = x.astype(self.x.dtype)
        below = self.covariance.cross(new, self.x).astype(self.kernel.dtype)
        own = self.covariance.matrix(new).astype(self.kernel.dtype)
        kernel = jnp.block([[self.kernel, below.T], [below, own]])
        labels = jnp.concatenate([self.one_hot, one_hot.astype(self.one_hot.dtype)])
        points = jnp.concatenate([self.x, new])
        with double_precision():
            start = jnp.pad(self.mode.coefficients, ((0, 0), (0, len(new))))
        return _known(self.covariance, points, labels, kernel, start)

    def arrays(self) -> dict[str, Any]:
        """All of it as arrays by name."""
        held = {"x": self.x, "one_hot": self.one_hot, "kernel": self.kernel}
        return {**held, **self.mode._asdict(), "probe": probe_of(self.covariance, self.x)}


def laplace(covariance: Covariance, x: Array, one_hot: Array) -> Laplace:
    """What labels `(n, n_classes)` teach of points."""
    kernel = covariance.matrix(x)
    return _known(covariance, x, one_hot.astype(kernel.dtype), kernel)


def _known(
    covariance: Covariance, x: Array, one_hot: Array, kernel: Array, start: Any = None
) -> Laplace:
    # The approximation would take a kernel that is none, if its eigenvalues are not below -4.
    factorized(kernel, "kernel_fn(x)", UNREGULARIZED, mends=True)
    mode = mode_of(kernel, one_hot, start)
    if not np.isfinite(mode.log_evidence):
        raise ValueError(
            "laplace: the mode of the posterior was not found, as kernel_fn(x) is close to "
            f"singular and has variances up to {float(jnp.max(jnp.diagonal(kernel))):.2g}: give "
            "the network smaller W_std and b_std, or pass likelihood='dirichlet'"
        )
    return Laplace(covariance, x, one_hot, kernel, mode)


def read(arrays: Mapping[str, Any], covariance: Covariance) -> Laplace:
    """What `Laplace.arrays` has written."""
    kind = Logistic if "root" in arrays else Softmax
    with double_precision():
        mode = kind(**{name: jnp.asarray(arrays[name]) for name in kind._fields})
    points, labels, kernel = (jnp.asarray(arrays[name]) for name in ("x", "one_hot", "kernel"))
    return Laplace(covariance, points, labels, kernel, mode)


def mode_of(kernel: Array, one_hot: Array, start: Any = None) -> Logistic | Softmax:
    """The mode for a covariance `(n, n)` and labels `(n, n_classes)`, from coefficients."""
    n, classes = one_hot.shape
    find, functions = (logistic, 1) if classes == 2 else (softmax, classes)
    return find(kernel, one_hot, jnp.zeros((functions, n)) if start is None else start)


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
