"""Labels as users pass them: what is refused, and their classes as numbers."""

from typing import Any

import numpy as np


def classes_of(labels: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The sorted classes of labels, two or more, and one-hot rows `(n, n_classes)`."""
    names = _names(labels, count)
    classes, indices = np.unique(names, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"labels holds one class only, {classes.tolist()[0]!r}: pass points of two or more"
        )
    return classes, np.eye(len(classes))[indices]


def among(labels: Any, count: int, classes: np.ndarray) -> np.ndarray:
    """One-hot rows `(n, n_classes)` of labels whose classes are known."""
    names = _names(labels, count)
    new = [name for name in np.unique(names).tolist() if name not in classes.tolist()]
    if new:
        raise ValueError(
            f"labels holds {', '.join(map(repr, new))}, expected classes among "
            f"{', '.join(map(repr, classes.tolist()))}: fit again with all points, as each class "
            "has a function of its own"
        )
    return np.eye(len(classes))[np.searchsorted(classes, names)]


def _names(labels: Any, count: int) -> np.ndarray:
    names = np.asarray(labels)
    if names.shape != (count,):
        raise ValueError(
            f"labels has shape {names.shape}, expected ({count},): pass a label for each of the "
            "points of x"
        )
    kinds = {type(name) for name in names.tolist()}
    if len(kinds) > 1 or not kinds <= {bool, int, str}:
        came = names.dtype
        if names.dtype == object:
            came = f"{names.dtype}, with {' and '.join(sorted(kind.__name__ for kind in kinds))}"
        raise ValueError(
            f"labels has dtype {came}, expected integers, booleans or strings, one of these: pass "
            "labels.astype(int) or labels.astype(str), or use GaussianProcess for numbers"
        )
    return names
