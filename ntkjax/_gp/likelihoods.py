"""What ties the functions of a classifier to labels, by name."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from ntkjax._gp import laplace, regressions
from ntkjax._gp.arguments import NOISE
from ntkjax._gp.covariance import Covariance
from ntkjax._gp.likelihood import covariance_at
from ntkjax._gp.regressions import Targets


class Learned(Protocol):
    """What a classifier knows of the points that it has seen."""

    @property
    def x(self) -> Array:
        """The points."""
        ...

    @property
    def data(self) -> Any:
        """What their labels have become, arrays."""
        ...

    def probabilities(self, x: Array, draws: int, key: Array) -> Array:
        """Of the classes at other points, `(m, n_classes)`."""
        ...

    def log_marginal_likelihood(self) -> Array:
        """The log probability or density of `data`."""
        ...

    @property
    def one_hot(self) -> Array:
        """The labels, `(n, n_classes)`."""
        ...

    def extended(self, x: Array, one_hot: Array) -> "Learned":
        """What is known after more points."""
        ...

    def arrays(self) -> dict[str, Any]:
        """All of it as arrays by name, for a file."""
        ...


def evidence_at(
    network: Any, params: Any, get: str, values: Mapping[str, Any], x: Array, data: Any
) -> Array:
    """The log marginal likelihood at other values of some parameters, which may be traced."""
    kernel = covariance_at(network, params, get, values, x)
    if not isinstance(data, Targets):
        return laplace.log_evidence(kernel, data.astype(kernel.dtype))
    noise = values.get(NOISE, data.noise)
    targets = Targets(*(jnp.asarray(part, kernel.dtype) for part in (data.y, noise)))
    return regressions.log_evidence(kernel, targets)


def _laplace(c: Covariance, x: Array, one_hot: Array, noise: Any, epsilon: float | None) -> Learned:
    return laplace.laplace(c, x, one_hot)


def _one_hot(c: Covariance, x: Array, one_hot: Array, noise: Any, epsilon: float | None) -> Learned:
    return regressions.one_hot_regression(c, x, one_hot, noise)


def _dirichlet(
    c: Covariance, x: Array, one_hot: Array, noise: Any, epsilon: float | None
) -> Learned:
    return regressions.dirichlet(c, x, one_hot, epsilon)


#: What they learn from points, one-hot labels `(n, n_classes)`, noise and epsilon.
LIKELIHOODS: dict[str, Callable[..., Learned]] = {
    "dirichlet": _dirichlet,
    "laplace": _laplace,
    "one_hot": _one_hot,
}


def learned_of(likelihood: str, arrays: Mapping[str, Any], covariance: Covariance) -> Learned:
    """What arrays describe."""
    read = laplace.read if likelihood == "laplace" else regressions.read
    return read(arrays, covariance)
