"""Kernel inducing points: a few images and labels that stand for a whole training set.

Kernel ridge regression on the points (x_s, y_s) predicts, for other images x_t,

    f(x_t) = K_ts (K_ss + reg * mean(diag K_ss) * I)^-1 y_s,

and the points are learned so that these predictions fit the labels of the training images: by
gradients, through the solve and through the kernel, of

    L(x_s, y_s) = 1/2 mean over t of |y_t - f(x_t)|^2.

Source: Nguyen, Chen and Lee 2021, arXiv 2011.00050, equation 7; with convolutional kernels, Nguyen
et al. 2021, arXiv 2107.13034.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import jit


class Points(NamedTuple):
    """Images (n, height, width, channels), and targets of their classes (n, classes)."""

    images: Any
    labels: Any


class Learned(NamedTuple):
    """Points after a number of steps, and what Adam remembers of the gradients."""

    points: Points
    memory: Any


def predictions(kernel_fn: Any, points: Points, images: Any, reg: float) -> Any:
    """What regression on the points says of images, (len(images), classes)."""
    # One call for both matrices: gradients of convolutional kernels take long to compile.
    both = jnp.concatenate([points.images, images])
    kernel, count = kernel_fn(both, points.images, "ntk"), len(points.images)
    within, between = kernel[:count], kernel[count:]
    ridge = reg * jnp.mean(jnp.diagonal(within))
    shifted = within + ridge * jnp.eye(count, dtype=within.dtype)
    factor = jax.scipy.linalg.cho_factor(shifted, lower=True)
    return between @ jax.scipy.linalg.cho_solve(factor, points.labels)


class Learner:
    """Learns points by Adam, through one kernel.

    Args:
      kernel_fn: the kernel of a network.
      rate: learning rate of Adam. Images have variance one, so it counts in standard deviations.
      reg: ridge of the regression, in units of the mean of the diagonal of the points' kernel.
      learns_labels: whether the targets of the points are learned too; else they stay.
    """

    def __init__(self, kernel_fn: Any, rate: float, reg: float, learns_labels: bool = False):
        self.optimizer = optax.adam(rate)

        def loss(points: Points, images: Any, labels: Any) -> Any:
            errors = predictions(kernel_fn, points, images, reg) - labels
            return jnp.mean(jnp.sum(errors**2, axis=1)) / 2

        def step(learned: Learned, images: Any, labels: Any) -> tuple[Learned, Any]:
            value, slopes = jax.value_and_grad(loss)(learned.points, images, labels)
            if not learns_labels:  # Adam moves nothing whose gradient has always been zero
                slopes = slopes._replace(labels=jnp.zeros_like(slopes.labels))
            before: Any = learned.points
            moves, memory = self.optimizer.update(slopes, learned.memory)
            after: Any = optax.apply_updates(before, moves)
            return Learned(after, memory), value

        #: The loss of points (n, ...) on images (m, ...) with their targets.
        self.loss = loss
        #: One step, and the loss before it; compiled once for each number of images.
        self.step: Callable[..., tuple[Learned, Any]] = jit(step)
        #: Predictions of points for images.
        self.scores = jit(lambda points, images: predictions(kernel_fn, points, images, reg))

    def start(self, points: Points) -> Learned:
        points = Points(*map(jnp.asarray, points))
        return Learned(points, self.optimizer.init(points))


def targets(labels: np.ndarray, classes: int, dtype: Any = np.float32) -> np.ndarray:
    """1 - 1/classes for the label, -1/classes elsewhere: (n, classes)."""
    return (np.eye(classes)[labels] - 1 / classes).astype(dtype)


def real_points(
    images: np.ndarray, labels: np.ndarray, per_class: int, classes: int, seed: int
) -> Points:
    """A random choice of so many images of each class, class by class."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(labels == c))[:per_class] for c in range(classes)]
    rows = np.concatenate(chosen)
    return Points(images[rows], targets(labels[rows], classes, images.dtype))


def mean_points(
    images: np.ndarray, labels: np.ndarray, per_class: int, classes: int, seed: int
) -> Points:
    """Means of so many equal parts of each class, class by class."""
    rng = np.random.default_rng(seed)
    means = [
        images[part].mean(axis=0)
        for c in range(classes)
        for part in np.array_split(rng.permutation(np.flatnonzero(labels == c)), per_class)
    ]
    kinds = np.repeat(np.arange(classes), per_class)
    return Points(np.stack(means), targets(kinds, classes, images.dtype))
