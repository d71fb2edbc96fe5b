"""Kernel ridge regression on one-hot labels, tuned on the training part alone.

`choose` sees the kernel of the training points and their labels, nothing else. It tries every
candidate kernel with every ridge by leave-one-out cross-validation, which kernel ridge regression
has in closed form: with A = (K + ridge I)^-1, the prediction at point i of the model fitted
without it is y_i - (A y)_i / A_ii (Hastie, Tibshirani and Friedman 2009, section 7.10). One
eigendecomposition of K gives A for all ridges.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ntkjax import ntk_predict

# In units of the mean of the diagonal of the training kernel.
RIDGES = tuple(10.0**power for power in range(-6, 1))


class Candidate(NamedTuple):
    """One setting of the hyperparameters of a kernel.

    `kernel(rows, train)` is the matrix between the images of index `rows` and those of index
    `train`. Whatever it estimates from data (a length, a variance) comes from `train`.
    """

    setting: str
    kernel: Callable[[np.ndarray, np.ndarray], np.ndarray]


class Method(NamedTuple):
    """A kernel with all the settings that cross-validation may choose from."""

    name: str
    candidates: Sequence[Candidate]


class Choice(NamedTuple):
    """What cross-validation chose, with the leave-one-out accuracy that it saw."""

    candidate: Candidate
    ridge: float
    accuracy: float


def choose(method: Method, train: np.ndarray, train_labels: np.ndarray, classes: int) -> Choice:
    """The candidate and ridge with the most points right when each is left out once.

    Ties, the rule in small training sets, go to the smaller squared error.
    """
    targets = one_hot(train_labels, classes)
    best, best_score = None, (-1.0, 0.0)
    for candidate in method.candidates:
        k_train = candidate.kernel(train, train)
        for ridge, predictions in zip(RIDGES, leave_one_out(k_train, targets, RIDGES), strict=True):
            accuracy = accuracy_of(predictions, train_labels)
            score = (accuracy, -float(np.mean((predictions - targets) ** 2)))
            if score > best_score:
                best, best_score = Choice(candidate, ridge, accuracy), score
    assert best is not None, f"{method.name} has no candidates"
    return best


def predict(
    choice: Choice, train: np.ndarray, train_labels: np.ndarray, rows: np.ndarray, classes: int
) -> np.ndarray:
    """Scores of the classes for the images of index `rows`, shape (len(rows), classes)."""
    k_train = choice.candidate.kernel(train, train)
    k_rows = choice.candidate.kernel(rows, train)
    ridge = choice.ridge * float(np.mean(np.diag(k_train)))
    return np.asarray(ntk_predict(k_train, k_rows, one_hot(train_labels, classes), reg=ridge))


def leave_one_out(k_train: np.ndarray, targets: np.ndarray, ridges: Sequence[float]) -> np.ndarray:
    """Predictions at each training point without it, shape (ridges, n, classes)."""
    eigenvalues, vectors = np.linalg.eigh(k_train)
    # Rounding can push the smallest eigenvalues of a positive definite matrix below zero.
    shifted = np.maximum(eigenvalues, 0) + np.mean(np.diag(k_train)) * np.array(ridges)[:, None]
    inverse_diagonal = (1 / shifted) @ np.square(vectors).T
    solutions = vectors @ ((vectors.T @ targets) / shifted[:, :, None])
    return targets - solutions / inverse_diagonal[:, :, None]


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Targets of mean zero over the classes: 1 - 1/classes for the label, -1/classes elsewhere."""
    return np.eye(classes)[labels] - 1 / classes


def accuracy_of(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(np.argmax(scores, axis=1) == labels))
