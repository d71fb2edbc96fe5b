"""Keyword arguments of a kernel function on training points, on test points and between them."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ntkjax._jax_compat import is_concrete


def keywords_on_test(train: Mapping[str, Any], test: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of `kernel_fn(x_test, None)`: those of training, or what replaces them."""
    unknown = sorted(set(test) - set(train))
    if unknown:
        raise TypeError(
            f"predict_fn got the keyword {unknown[0]!r}, expected one of {sorted(train)}: a keyword"
            " for kernel_fn must be given to gradient_descent_mse_ensemble too"
        )
    return {**train, **test}


def keywords_between(train: Mapping[str, Any], test: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of `kernel_fn(x_test, x_train)`: pairs of arrays are joined as (test, train)."""
    joined = dict(train)
    for name, value in test.items():
        if _same(value, train[name]):
            continue
        if not (_is_pair_of_arrays(value) and _is_pair_of_arrays(train[name])):
            raise ValueError(
                f"the keyword {name!r} of kernel_fn must be the same for training and test points,"
                f" got {train[name]!r} and {value!r}: pass a pair of arrays, (for x1, for x2), to"
                " both where it belongs to the points"
            )
        joined[name] = (value[0], train[name][0])
    return joined


def _is_pair_of_arrays(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(v, jax.Array | np.ndarray) for v in value)
    )


def _same(a: Any, b: Any) -> bool:
    leaves_a, tree_a = jax.tree.flatten(a)
    leaves_b, tree_b = jax.tree.flatten(b)
    return tree_a == tree_b and all(
        x is y or (is_concrete((x, y)) and np.array_equal(x, y))
        for x, y in zip(leaves_a, leaves_b, strict=True)
    )
