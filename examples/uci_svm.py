"""Support vector machines on a kernel matrix, for many costs and splits.

The costs of a split rise, and two things end its work early. Where no dual coefficient is at its
bound, the machine has a hard margin: it solves the problem of every larger cost as well. Where
LIBSVM does not converge in `STEPS` steps, it does not at larger costs either, and these are taken
to be no better.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from sklearn.svm import SVC

#: Many times what separable classes of a few thousand rows take. LIBSVM by itself stops after ten
#: times as many.
STEPS = 1_000_000


class Split(NamedTuple):
    """Row numbers of training and of test examples."""

    train: np.ndarray
    test: np.ndarray


def accuracies_of(kernel: np.ndarray, y: np.ndarray, split: Split, costs: np.ndarray) -> np.ndarray:
    """Shares of test rows that support vector machines on the training rows get right, by cost.

    Args:
        kernel: kernel matrix of all rows, (n, n).
        y: labels, (n,).
        split: rows to train on and to test on.
        costs: rising costs of errors, (costs,).

    Returns:
        Accuracies, (costs,).
    """
    train, test = split
    if len(np.unique(y[train])) == 1:
        return np.full(len(costs), np.mean(y[test] == y[train][0]))
    own, cross = kernel[np.ix_(train, train)], kernel[np.ix_(test, train)]
    found = np.empty(len(costs))
    for k, cost in enumerate(costs):
        svm = SVC(C=cost, kernel="precomputed", cache_size=1000, max_iter=STEPS)
        svm.fit(own, y[train])
        found[k:] = np.mean(svm.predict(cross) == y[test])
        if svm.fit_status_ or np.abs(np.asarray(svm.dual_coef_)).max() < cost:
            break
    return found


def mean_accuracies(
    kernel: np.ndarray, y: np.ndarray, splits: Iterable[Split], costs: np.ndarray
) -> np.ndarray:
    """The same, averaged over splits."""
    return np.mean([accuracies_of(kernel, y, split, costs) for split in splits], axis=0)


def halves(y: np.ndarray, count: int, seed: int) -> Iterator[Split]:
    """Random splits of all rows in two halves, of each class the same share."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        first, second = [], []
        for label in np.unique(y):
            rows = rng.permutation(np.flatnonzero(y == label))
            first.append(rows[: len(rows) // 2])
            second.append(rows[len(rows) // 2 :])
        yield Split(np.concatenate(first), np.concatenate(second))
