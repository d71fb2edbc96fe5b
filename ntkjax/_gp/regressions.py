r"""A classifier by regression on its labels: what it knows of labelled points.

Labels become targets of Gaussian processes. For "dirichlet", the class probabilities of a point
have a Dirichlet posterior of concentrations :math:`\alpha_c = [c = y] + \epsilon`. Their
unnormalised parts are Gamma variables, matched by log-normal ones of the same mean and variance:

.. math::
    \tilde y_c = \log \alpha_c - s_c / 2, \quad s_c = \log(1 + 1 / \alpha_c),

the target of process c and the variance of its noise (Milios et al. 2018, equations 4 and 5).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._gp.covariance import Covariance, in_chunks
from ntkjax._gp.likelihood import likelihood_of
from ntkjax._gp.losses import log_marginal_likelihood
from ntkjax._gp.state import State, extended, fitted
from ntkjax._gp.storage import arrays_of, state_of
from ntkjax._solve.regularizer import shifted

#: Arrays of a state that the processes of a classifier share, and those that each has.
_SHARED = ("x", "x_mean", "x_std", "y_mean", "y_std", "probe")
_OWN = ("y", "noise", "right", "lower", "notes", "weights")


class Targets(NamedTuple):
    """Targets `(n, n_classes)`, less their prior mean, and the noise of each process.

    `noise` is `(n, n_classes)`, or one number where the processes share it and are the columns of
    one.
    """

    y: Array
    noise: Array


@dataclasses.dataclass(frozen=True)
class Regressions:
    """A process for each class, or one with a column for each, whose `epsilon` is None."""

    states: tuple[State, ...]
    one_hot: Array
    epsilon: float | None

    def probabilities(self, x: Array, draws: int, key: Array) -> Array:
        """Of the classes at points, `(m, n_classes)`.

        Of processes with noise of their own, the mean of the softmax over draws; of one, the shares
        of draws of the noisy targets in which a class is the largest.
        """
        first = self.states[0]

        def of_chunk(part: Array) -> tuple[Array, ...]:
            kernels = first.kernels(part)
            found = [state.moments(*kernels) for state in self.states]
            mean = jnp.concatenate([mean for mean, _ in found], axis=1)
            return mean, jnp.stack([variance for _, variance in found], axis=1)

        mean, variance = in_chunks(first.scaled(x), of_chunk)
        normal = jax.random.normal(key, (draws, *mean.shape), mean.dtype)
        if self.epsilon is None:
            return _largest(mean, variance + first.noise, normal)
        return _softmaxes(mean, variance, normal)

    def log_marginal_likelihood(self) -> Array:
        """The log density of the targets that labels have become."""
        return jnp.sum(jnp.stack([likelihood_of(state) for state in self.states]))

    @property
    def x(self) -> Array:
        """The training points."""
        return self.states[0].x

    @property
    def data(self) -> Targets:
        """What labels have become."""
        noise = [state.noise for state in self.states]
        y = jnp.concatenate([state.right for state in self.states], axis=1)
        return Targets(y, noise[0] if self.epsilon is None else jnp.stack(noise, axis=1))

    def extended(self, x: Array, one_hot: Array) -> "Regressions":
        """What is known after more points, whose kernel is computed once."""
        first = self.states[0]
        new = first.scaled(x)
        blocks = first.covariance.cross(first.scaled(first.x), new), first.covariance.matrix(new)
        targets = _targets(one_hot.astype(first.y.dtype), self.epsilon, first.noise)
        pairs = zip(self.states, _columns(targets), strict=True)
        states = [extended(state, x, y, noise, 0.0, blocks) for state, (y, noise) in pairs]
        labels = jnp.concatenate([self.one_hot, one_hot.astype(self.one_hot.dtype)])
        return Regressions(tuple(states), labels, self.epsilon)

    def arrays(self) -> dict[str, Any]:
        """All of it as arrays by name; what processes share, once."""
        held = {"one_hot": self.one_hot}
        if self.epsilon is not None:
            held["epsilon"] = jnp.asarray(self.epsilon)
        for i, state in enumerate(self.states):
            arrays = arrays_of(state)
            held.update({f"{name}_{i}": arrays[name] for name in _OWN})
            held.update({name: arrays[name] for name in _SHARED})
        return held


def regressions(
    covariance: Covariance, x: Array, one_hot: Array, epsilon: float | None, noise: Any
) -> Regressions:
    """What labels teach of points; their kernel is computed once."""
    matrix = covariance.matrix(x)
    targets = _targets(one_hot.astype(matrix.dtype), epsilon, noise)
    columns = _columns(targets)
    states = [fitted(covariance, x, y, noise, 0.0, matrix=matrix) for y, noise in columns]
    return Regressions(tuple(states), one_hot, epsilon)


def read(arrays: Mapping[str, Any], covariance: Covariance) -> Regressions:
    """What `Regressions.arrays` has written."""
    states = []
    while f"lower_{len(states)}" in arrays:
        i = len(states)
        own = {name: arrays[f"{name}_{i}"] for name in _OWN}
        shared = {name: arrays[name] for name in _SHARED}
        states.append(state_of({**shared, **own}, False, covariance))
    epsilon = float(arrays["epsilon"]) if "epsilon" in arrays else None
    return Regressions(tuple(states), jnp.asarray(arrays["one_hot"]), epsilon)


def log_evidence(kernel: Array, targets: Targets) -> Array:
    """The log density of targets, given the covariance of the points."""
    values = [log_marginal_likelihood(shifted(kernel, s), y) for y, s in _columns(targets)]
    return jnp.sum(jnp.stack(values))


def _targets(one_hot: Array, epsilon: float | None, noise: Any) -> Targets:
    """Those of "dirichlet", or ones and zeros, less the mean of a row."""
    if epsilon is not None:
        return dirichlet_targets(one_hot, epsilon)
    return Targets(one_hot - 1 / one_hot.shape[1], jnp.asarray(noise, one_hot.dtype))


def _columns(targets: Targets) -> list[tuple[Array, Array]]:
    """Targets `(n, k)` and noise of each process."""
    y, noise = targets
    if not noise.ndim:
        return [(y, noise)]
    return [(t[:, None], s) for t, s in zip(y.T, noise.T, strict=True)]


def dirichlet_targets(one_hot: Array, epsilon: float) -> Targets:
    """Those of the log-normal approximation, less their mean."""
    concentration = one_hot + epsilon
    noise = jnp.log1p(1 / concentration)
    y = jnp.log(concentration) - noise / 2
    # Each row holds the same numbers, so their mean does not depend on the labels. Far from all
    # points all processes are at it, and the classes are equally probable.
    return Targets(y - jnp.mean(y[0]), noise)


@jax.jit
def _softmaxes(mean: Array, variance: Array, normal: Array) -> Array:
    drawn = mean[None] + jnp.sqrt(variance)[None] * normal
    return jnp.mean(jax.nn.softmax(drawn, axis=-1), axis=0)


@jax.jit
def _largest(mean: Array, variance: Array, normal: Array) -> Array:
    drawn = mean[None] + jnp.sqrt(variance)[None] * normal
    largest = jnp.argmax(drawn, axis=-1)
    return jnp.mean(jax.nn.one_hot(largest, mean.shape[1], dtype=mean.dtype), axis=0)
