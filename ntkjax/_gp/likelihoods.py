"""What ties the functions of a classifier to labels, by name."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from ntkjax._gp import laplace, regressions
from ntkjax._gp.arguments import NOISE
from ntkjax._gp.covariance import Covariance, covariance_of
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


def evidence_at(
    network: Any, params: Any, get: str, values: Mapping[str, Any], x: Array, data: Any
) -> Array:
    """The log marginal likelihood at other values of some parameters, which may be traced."""
    named = {name: value for name, value in values.items() if name != NOISE}
    params = params if params is None else {**params, **named}
    kernel = covariance_of(network, params, get).matrix(x)
    if not isinstance(data, Targets):
        return laplace.log_evidence(kernel, data.astype(kernel.dtype))
    noise = values.get(NOISE, data.noise)
    targets = Targets(*(jnp.asarray(part, kernel.dtype) for part in (data.y, noise)))
    return regressions.log_evidence(kernel, targets)


def _laplace(c: Covariance, x: Array, one_hot: Array, noise: Any, epsilon: float) -> Learned:
    return laplace.laplace(c, x, one_hot)


def _one_hot(c: Covariance, x: Array, one_hot: Array, noise: Any, epsilon: float) -> Learned:
    return regressions.regressions(c, x, regressions.one_hot_targets(one_hot, noise))


def _dirichlet(c: Covariance, x: Array, one_hot: Array, noise: Any, epsilon: float) -> Learned:
    return regressions.regressions(c, x, regressions.dirichlet_targets(one_hot, epsilon))


#: What they learn from points, one-hot labels `(n, n_classes)`, noise and epsilon.
LIKELIHOODS: dict[str, Callable[..., Learned]] = {
    "dirichlet": _dirichlet,
    "laplace": _laplace,
    "one_hot": _one_hot,
}
