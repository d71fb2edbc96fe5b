"""Finite networks: one trained with optax beside the kernels, and wide ones for their kernel.

The networks are the same triples as those of the infinite ones: `init_fn` and `apply_fn` are the
finite network, `kernel_fn` its limit.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import ntkjax
from regression import accuracy_of
from splits import folds

# Learning rates and numbers of steps that cross-validation may choose from.
SCHEDULES = ((0.05, 100), (0.05, 300), (0.02, 300))
BATCH = 16
FOLDS = 2


class Training(NamedTuple):
    """What cross-validation chose, with the accuracy that it saw."""

    learning_rate: float
    steps: int
    accuracy: float


class Trainer:
    """Trains one architecture on subsets of `images` with Adam, on cross-entropy.

    The learning rate falls linearly to nothing. Batches and evaluations have a fixed shape, so that
    all training sets share one compilation.
    """

    def __init__(self, network: tuple, images: np.ndarray, classes: int):
        self._init, apply_fn, _ = network
        self._shape = images.shape[1:]
        self._classes = classes
        stored = jnp.asarray(images, jnp.float32)
        optimizer = optax.scale_by_adam()

        def loss(params, rows, labels):
            scores = apply_fn(params, stored[rows])
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(scores, labels))

        def step(params, state, rate, rows, labels):
            gradient = jax.grad(loss)(params, rows, labels)
            direction, state = optimizer.update(gradient, state, params)
            update = jax.tree.map(lambda d: -rate * d, direction)
            return optax.apply_updates(params, update), state

        self._start = optimizer.init
        # One call a step: inside a lax.scan, convolutions are ten times slower on CPUs.
        self._step = jax.jit(step)
        self._apply = jax.jit(lambda params, rows: apply_fn(params, stored[rows]))

    def choose(self, train: np.ndarray, labels: np.ndarray, seed: int) -> Training:
        """Learning rate and number of steps by cross-validation inside the training set."""
        best, best_score = None, (-1.0, 0.0)
        for rate, steps in SCHEDULES:
            scores = np.zeros((len(train), self._classes))
            for fit, held_out in folds(FOLDS, len(train)):
                params = self.fit(train[fit], labels[fit], rate, steps, seed)
                scores[held_out] = self.scores(params, train[held_out])
            accuracy = accuracy_of(scores, labels)
            score = (accuracy, -cross_entropy(scores, labels))
            if score > best_score:
                best, best_score = Training(rate, steps, accuracy), score
        assert best is not None
        return best

    def fit(self, train: np.ndarray, labels: np.ndarray, rate: float, steps: int, seed: int):
        """The parameters after `steps` batches drawn from `train`."""
        _, params = self._init(jax.random.key(seed), (BATCH, *self._shape))
        params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
        state = self._start(params)
        rng = np.random.default_rng(seed)
        for step in range(steps):
            batch = rng.integers(0, len(train), BATCH)
            now = np.float32(rate * (1 - step / steps))
            params, state = self._step(params, state, now, train[batch], labels[batch])
        return params

    def scores(self, params, rows: np.ndarray) -> np.ndarray:
        """Scores of the classes for the images of index `rows`, (len(rows), classes)."""
        padded = np.resize(rows, -(-len(rows) // BATCH) * BATCH)
        parts = [self._apply(params, part) for part in padded.reshape(-1, BATCH)]
        return np.concatenate(parts)[: len(rows)]


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(optax.softmax_cross_entropy_with_integer_labels(scores, labels)))


def relative_errors(
    network: Callable[[int], tuple],
    images: np.ndarray,
    widths: Sequence[int],
    seeds: int,
    advance: Callable[[], None],
) -> np.ndarray:
    """Distance of the finite network's NTK from the infinite one's, (widths, seeds).

    Frobenius norm of the difference over that of the limit, for networks of random weights. Its
    root mean square falls as 1 / sqrt(width): entries are averages over that many features.
    """
    exact = np.asarray(network(1)[2](images, None, "ntk"))
    errors = np.empty((len(widths), seeds))
    for row, width in enumerate(widths):
        init_fn, apply_fn, _ = network(width)
        empirical = jax.jit(ntkjax.empirical_ntk_fn(apply_fn, trace_axes=(-1,)))
        for seed in range(seeds):
            _, params = init_fn(jax.random.key(seed), images.shape)
            params = jax.tree.map(lambda p: p.astype(images.dtype), params)
            sample = np.asarray(empirical(images, None, params))
            errors[row, seed] = np.linalg.norm(sample - exact) / np.linalg.norm(exact)
            advance()
    return errors
