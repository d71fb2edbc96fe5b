"""Kernel regression: what an infinitely wide network predicts once trained to convergence."""

from typing import Any

from jax import Array

from ntkjax._inference.arguments import (
    check_not_negative,
    common_dtype,
    float_array,
    targets_array,
)
from ntkjax._solve.factor import factorized
from ntkjax._solve.refinement import refined_solve
from ntkjax._solve.regularizer import Regularizer, shift_of
from ntkjax._solve.symmetric import highest, symmetrized


def ntk_predict(k_train: Any, k_test: Any, y_train: Any, reg: float = 1e-6) -> Array:
    """Predictions of the infinitely wide network trained to convergence on the squared error.

    `k_test (k_train + reg I)^-1 y_train`. With the NTK this is gradient flow on all layers from a
    network whose initial output is zero; with the NNGP, on the last layer alone.

    Args:
      k_train: kernel of the training points with themselves, `(n_train, n_train)`.
      k_test: kernel of test with training points, `(n_test, n_train)`.
      y_train: targets, `(n_train,)` or `(n_train, n_outputs)`; labels that are integers are
        converted.
      reg: added to the diagonal of `k_train` as it is (not scaled by it), at least 0.

    Returns:
      Predictions, `(n_test,)` or `(n_test, n_outputs)`.

    Raises:
      ValueError: shapes do not fit each other; targets are empty or not finite; `reg` is negative;
        `k_train` is not positive definite in its dtype (the message says which `reg` would do).
        Inside a caller's `jit` this last check has no values to look at: a singular kernel is
        mended there, and `predict.solve` returns the report that says so.
      TypeError: an argument is not an array of real numbers.

    Source: Arora et al. 2019, arXiv 1904.11955, section 3 (the kernel regression of Theorem 3.2).

    Example:
      >>> import jax.numpy as jnp
      >>> k_train = jnp.array([[4.0, 2.0], [2.0, 5.0]])
      >>> print(ntk_predict(k_train, jnp.array([[2.0, 1.0]]), jnp.array([16, 0]), reg=0.0))
      [8.]
    """
    y = targets_array(y_train)
    check_not_negative(reg, "reg")
    if y.ndim not in (1, 2):
        raise ValueError(
            f"y_train has shape {y.shape}, expected (n_train,) or (n_train, n_outputs): flatten its"
            " last axes"
        )
    n = y.shape[0]
    train, test = float_array(k_train, "k_train"), float_array(k_test, "k_test")
    if train.shape != (n, n):
        raise ValueError(
            f"k_train has shape {train.shape}, expected ({n}, {n}) since y_train has {n} points:"
            " pass the kernel of the training points with themselves"
        )
    if test.ndim != 2 or test.shape[1] != n:
        swap = ", its transpose" if test.ndim == 2 and test.shape[0] == n else ""
        raise ValueError(
            f"k_test has shape {test.shape}, expected (n_test, {n}): pass kernel_fn(x_test,"
            f" x_train){swap}"
        )
    dtype = common_dtype(y, train, test)
    regularizer = Regularizer("reg", reg, absolute=True)
    matrix = symmetrized(train.astype(dtype), "k_train")
    factor = factorized(matrix, "k_train", regularizer, mends=False)
    shift = shift_of(matrix, regularizer)
    weights = refined_solve(factor, matrix, "k_train", shift, y.astype(dtype))
    return highest(test.astype(dtype), weights)
