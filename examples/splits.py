"""Random splits into nested training sets and a test set, with all classes in equal parts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """Indices of a pool of training images and of the test images, which share no image.

    The first n indices of the pool are the training set of size n, so that the sets of one split
    are nested.
    """

    pool: np.ndarray
    test: np.ndarray


def subset(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Indices of `size` images, balanced over the classes."""
    return balanced_order(labels, np.random.default_rng(seed))[:size]


def random_split(labels: np.ndarray, test_size: int, seed: int) -> Split:
    """All images, split at random, both parts balanced over the classes."""
    order = balanced_order(labels, np.random.default_rng(seed))
    return Split(pool=order[test_size:], test=order[:test_size])


def balanced_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order in which the classes take turns, as long as each has images left."""
    shuffled = rng.permutation(len(labels))
    turn = np.empty(len(labels), int)
    for label in np.unique(labels):
        mine = shuffled[labels[shuffled] == label]
        turn[mine] = np.arange(len(mine))
    return shuffled[np.argsort(turn[shuffled], kind="stable")]


def folds(count: int, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(fit, held out) positions for cross-validation on n points in balanced order.

    Blocks of neighbours, so that each fold holds out about equally many of each class.
    """
    parts: Sequence[np.ndarray] = np.array_split(np.arange(n), min(count, n))
    return [(np.setdiff1d(np.arange(n), part), part) for part in parts]
