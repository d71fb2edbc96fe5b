r"""A classifier by regression on its labels: what it knows of labelled points.

Labels become targets of Gaussian processes. For "dirichlet", the class probabilities of a point
have a Dirichlet posterior of concentrations :math:`\alpha_c = [c = y] + \epsilon`. Their
unnormalised parts are Gamma variables, matched by log-normal ones of the same mean and variance:

.. math::
    \tilde y_c = \log \alpha_c - s_c / 2, \quad s_c = \log(1 + 1 / \alpha_c),

the target of process c and the variance of its noise (Milios et al. 2018, section 4). Nothing in
the model says which epsilon is right, and the densities of targets that depend on it are not to be
compared. What is to be compared is what the processes say of labels: epsilon is that with the
largest log probability of each training label given all others, in closed form for each process
(Rasmussen and Williams 2006, section 5.4.2).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._gp.covariance import Covariance, in_chunks
from ntkjax._gp.likelihood import likelihood_of
from ntkjax._gp.losses import left_out, log_marginal_likelihood
from ntkjax._gp.state import State, extended, fitted
from ntkjax._gp.storage import arrays_of, state_of
from ntkjax._solve.factor import cholesky_solve
from ntkjax._solve.ladder import cholesky
from ntkjax._solve.regularizer import shifted

#: Arrays of a state that the processes of a classifier share, and those that each has.
_SHARED = ("x", "x_mean", "x_std", "y_mean", "y_std", "probe")
_OWN = ("y", "noise", "right", "lower", "notes", "weights")


#: Values of epsilon among which one is chosen, the most points that it is chosen by, and draws.
EPSILONS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_POINTS, _DRAWS = 500, 200


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


def dirichlet(
    covariance: Covariance, x: Array, one_hot: Array, epsilon: float | None
) -> Regressions:
    """What labels teach of points, with a chosen epsilon where there is None."""
    matrix = covariance.matrix(x)
    if epsilon is None:
        epsilon = best_epsilon(matrix, one_hot.astype(matrix.dtype))
    return _regressions(covariance, x, matrix, one_hot, epsilon, 0.0)


def one_hot_regression(covariance: Covariance, x: Array, one_hot: Array, noise: Any) -> Regressions:
    """What labels teach of points by regression on ones and zeros."""
    return _regressions(covariance, x, covariance.matrix(x), one_hot, None, noise)


def _regressions(
    covariance: Covariance,
    x: Array,
    matrix: Array,
    one_hot: Array,
    epsilon: float | None,
    noise: Any,
) -> Regressions:
    targets = _targets(one_hot.astype(matrix.dtype), epsilon, noise)
    columns = _columns(targets)
    states = [fitted(covariance, x, y, noise, 0.0, matrix=matrix) for y, noise in columns]
    return Regressions(tuple(states), one_hot, epsilon)


def read(arrays: Mapping[str, Any], covariance: Covariance) -> Regressions:
    """What `Regressions.arrays` has written."""
    states = []
    while not states or f"lower_{len(states)}" in arrays:
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


def best_epsilon(matrix: Array, one_hot: Array) -> float:
    """That of `EPSILONS` with which the processes say most of each label, given all others."""
    n = len(matrix)
    if n > _POINTS:
        kept = np.sort(np.random.default_rng(0).permutation(n)[:_POINTS])
        matrix, one_hot = matrix[np.ix_(kept, kept)], one_hot[kept]
    normal = jax.random.normal(jax.random.key(0), (_DRAWS, *one_hot.shape), matrix.dtype)

    def score(epsilon: float) -> float:
        columns = _columns(dirichlet_targets(one_hot, epsilon))
        found = [_left_out(matrix, y, noise) for y, noise in columns]
        mean, variance = (jnp.stack(parts, axis=1) for parts in zip(*found, strict=True))
        share = jnp.sum(_softmaxes(mean, variance, normal) * one_hot, axis=1)
        value = float(jnp.sum(jnp.log(jnp.maximum(share, jnp.finfo(share.dtype).tiny))))
        return value if np.isfinite(value) else -np.inf

    return max(EPSILONS, key=score)


@jax.jit
def _left_out(matrix: Array, y: Array, noise: Array) -> tuple[Array, Array]:
    """Mean and variance `(n,)` of a process at each point, given all others."""
    # Noise of "dirichlet" is above log 1.5, so that nothing needs to be mended.
    lower = cholesky(matrix, noise)
    eye = jnp.eye(len(matrix), dtype=matrix.dtype)
    diagonal = jnp.sum(jax.scipy.linalg.solve_triangular(lower, eye, lower=True) ** 2, axis=0)
    mean, variance = left_out(diagonal, cholesky_solve(lower, y), y)
    return mean[:, 0], jnp.maximum(variance - noise, 0)


@jax.jit
def _softmaxes(mean: Array, variance: Array, normal: Array) -> Array:
    drawn = mean[None] + jnp.sqrt(variance)[None] * normal
    return jnp.mean(jax.nn.softmax(drawn, axis=-1), axis=0)


@jax.jit
def _largest(mean: Array, variance: Array, normal: Array) -> Array:
    drawn = mean[None] + jnp.sqrt(variance)[None] * normal
    largest = jnp.argmax(drawn, axis=-1)
    return jnp.mean(jax.nn.one_hot(largest, mean.shape[1], dtype=mean.dtype), axis=0)
