"""Finite networks: one trained with optax beside the kernels, and wide ones for their kernel.

The networks are the same triples as those of the infinite ones: `init_fn` and `apply_fn` are the
finite network, `kernel_fn` its limit.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import ntkjax
from regression import accuracy_of
from splits import folds

# Learning rates that cross-validation may choose from, and how training goes with each of them.
RATES = (0.05, 0.1, 0.2)
BATCH = 16
WARM_UP = 20  # steps
FOLDS = 2
# How often training starts again with twice as many steps, where training images are still wrong.
DOUBLINGS = 2


def steps_for(size: int) -> int:
    """The first number of steps: 22 passes through 500 images, more through fewer."""
    return 200 + size * 7 // 5


class Choice(NamedTuple):
    """The learning rate that cross-validation chose, with the accuracy that it saw."""

    learning_rate: float
    accuracy: float


class Fitted(NamedTuple):
    """A trained network, with the steps that it took and its accuracy on the training images."""

    params: Any
    steps: int
    accuracy: float


class Trainer:
    """Trains one architecture on subsets of `images` with Adam, on cross-entropy.

    The weights of the layers start at variance one behind a factor sqrt(2 / inputs), which is He's
    initialisation. Batches and evaluations have a fixed shape, so that all training sets share one
    compilation; several threads may train at a time.
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
            # Adam raises a float to the number of steps, an integer, which a strict JAX refuses.
            with jax.numpy_dtype_promotion("standard"):
                direction, state = optimizer.update(gradient, state, params)
            update = jax.tree.map(lambda d: -rate * d, direction)
            return optax.apply_updates(params, update), state

        self._start = optimizer.init
        # One call a step: inside a lax.scan, convolutions are ten times slower on CPUs.
        self._step = jax.jit(step)
        self._apply = jax.jit(lambda params, rows: apply_fn(params, stored[rows]))

    def choose(self, train: np.ndarray, labels: np.ndarray, seed: int) -> Choice:
        """The learning rate, by cross-validation inside the training set.

        Ties, the rule in small training sets, go to the smaller cross-entropy.
        """
        best, best_score = None, (-1.0, 0.0)
        for rate in RATES:
            scores = np.zeros((len(train), self._classes))
            for fit, held_out in folds(FOLDS, len(train)):
                params = self.train(train[fit], labels[fit], rate, steps_for(len(fit)), seed)
                scores[held_out] = self.scores(params, train[held_out])
            accuracy = accuracy_of(scores, labels)
            score = (accuracy, -cross_entropy(scores, labels))
            if score > best_score:
                best, best_score = Choice(rate, accuracy), score
        assert best is not None
        return best

    def fit(self, train: np.ndarray, labels: np.ndarray, rate: float, seed: int) -> Fitted:
        """The network after as many steps as it takes to get all training images right.

        Where that takes more than 2**DOUBLINGS times `steps_for(len(train))`, the accuracy that is
        returned says how far it came.
        """
        steps = steps_for(len(train))
        most = steps * 2**DOUBLINGS
        while True:
            params = self.train(train, labels, rate, steps, seed)
            accuracy = accuracy_of(self.scores(params, train), labels)
            if accuracy == 1 or steps == most:
                return Fitted(params, steps, accuracy)
            steps *= 2

    def train(self, train: np.ndarray, labels: np.ndarray, rate: float, steps: int, seed: int):
        """The parameters after `steps` batches of `train`, the last at a rate of nearly nothing."""
        _, params = self._init(jax.random.key(seed), (BATCH, *self._shape))
        params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
        state = self._start(params)
        rng = np.random.default_rng(seed)
        for now, batch in zip(cosine(rate, steps), batches(len(train), steps, rng), strict=True):
            params, state = self._step(params, state, now, train[batch], labels[batch])
        return params

    def scores(self, params, rows: np.ndarray) -> np.ndarray:
        """Scores of the classes for the images of index `rows`, (len(rows), classes)."""
        padded = np.resize(rows, -(-len(rows) // BATCH) * BATCH)
        parts = [self._apply(params, part) for part in padded.reshape(-1, BATCH)]
        return np.concatenate(parts)[: len(rows)]


def cosine(rate: float, steps: int) -> np.ndarray:
    """Learning rates of all steps: a linear warm-up to `rate`, then half a cosine to nothing."""
    step = np.arange(steps)
    warm = np.minimum(1, (step + 1) / WARM_UP)
    return (rate * warm * (1 + np.cos(np.pi * step / steps)) / 2).astype(np.float32)


def batches(size: int, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of `size` images, (steps, BATCH): pass after pass, each in a new random order."""
    passes = -(-steps * BATCH // size)
    order = np.concatenate([rng.permutation(size) for _ in range(passes)])
    return order[: steps * BATCH].reshape(steps, BATCH)


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
