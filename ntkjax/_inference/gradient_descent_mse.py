"""Outputs of one network during training on the squared error, by its kernel."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._inference.arguments import (
    check_not_negative,
    common_dtype,
    scaled_times,
    targets_array,
    times_array,
)
from ntkjax._inference.flow import decay, response
from ntkjax._inference.layout import Layout, layout_of
from ntkjax._inference.start import Start, start_of_training
from ntkjax._inference.training_kernel import TrainingKernel
from ntkjax._solve.regularizer import Regularizer
from ntkjax._solve.symmetric import highest


def gradient_descent_mse(
    k_train_train: Any,
    y_train: Any,
    learning_rate: float = 1.0,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
    trace_axes: int | Sequence[int] = (-1,),
) -> Callable[..., Any]:
    r"""Outputs at time `t` of a network that is trained by gradient flow on the squared error.

    The loss is the mean over all entries of `y_train` of `(f - y)^2 / 2`. With T the kernel of the
    training points after regularisation, T* that of test with training points, and
    `s = learning_rate t / y_train.size`,

    `f_train(t) = y + exp(-s T) (f_train(0) - y)`,
    `f_test(t) = f_test(0) + T* inv(T) (1 - exp(-s T)) (y - f_train(0))`.

    With the empirical NTK this is the training of the linearised network, with an exact one that of
    an infinitely wide network. The eigendecomposition (finite `t`) and the Cholesky factor
    (`t=None`) are computed on first use and kept.

    Args:
      k_train_train: kernel of the training points: an array, of the shape of `y_train` with each
        axis that is not in `trace_axes` twice, as a rule `(n_train, n_train)`; or an object with
        an `ntk`, such as a `Kernel`.
      y_train: targets, as a rule `(n_train, n_outputs)`.
      learning_rate: rate of gradient flow, at least 0: time is counted in units of its inverse.
      diag_reg: multiple of the identity that is added to the training kernel, at least 0.
      diag_reg_absolute_scale: False: `diag_reg` is in units of the mean of the kernel's diagonal.
        True: it is added as it is.
      trace_axes: axes of `y_train` that the kernel lacks, being the identity along them.

    Returns:
      `predict_fn(t=None, fx_train_0=0., fx_test_0=None, k_test_train=None)`. `t` is None or
      infinity (the end of training), a time, or an array of times of any shape, whose axes come
      first in the answer. `fx_train_0` and `fx_test_0` are outputs at time 0, arrays or numbers.
      It returns the outputs on the training points; with `fx_test_0`, which needs `k_test_train`,
      `(fx_train_t, fx_test_t)`; with `fx_train_0=None` those on the test points alone, of a network
      whose outputs on the training points are 0 at first. With `t=None` the outputs on the training
      points are `y_train`, without regularisation.

    Raises:
      ValueError: a shape does not fit `y_train`; targets are empty or not finite; `diag_reg`,
        `learning_rate` or a time is negative; `fx_test_0` comes without `k_test_train`, or nothing
        is asked for; the training kernel has a negative eigenvalue, or for the end of training is
        not positive definite in its dtype (the message says which `diag_reg` would do).
      TypeError: an argument is not real.

    Source: Lee et al. 2019, arXiv 1902.06720, section 2.2; Jacot et al. 2018, arXiv 1806.07572.

    Example:
      >>> import jax.numpy as jnp
      >>> kernel, y = jnp.array([[2.0, 0.0], [0.0, 4.0]]), jnp.array([[1.0], [1.0]])
      >>> predict_fn = gradient_descent_mse(kernel, y)
      >>> print(predict_fn(1.0).round(3))  # 1 - exp(-1), 1 - exp(-2)
      [[0.632]
       [0.865]]
      >>> print(predict_fn(None, 0.0, 0.0, jnp.array([[1.0, 2.0]]))[1])
      [[1.]]
    """
    y = targets_array(y_train)
    check_not_negative(diag_reg, "diag_reg")
    check_not_negative(learning_rate, "learning_rate")
    layout = layout_of(y, trace_axes)
    training = TrainingKernel(
        lambda kinds: k_train_train,
        "k_train_train",
        layout,
        Regularizer("diag_reg", diag_reg, diag_reg_absolute_scale),
    )

    def predict_fn(
        t: Any = None, fx_train_0: Any = 0.0, fx_test_0: Any = None, k_test_train: Any = None
    ) -> Any:
        start = start_of_training(layout, fx_train_0, fx_test_0, k_test_train)
        times = None if t is None else times_array(t)
        if times is None:
            return _at_the_end(training, y, start)
        return _during(training, y, start, times, learning_rate)

    return predict_fn


def _difference(y: Array, start: Start, dtype: Any, layout: Layout) -> Array:
    """Y - f_train(0), as a matrix."""
    targets = y.astype(dtype)
    if start.train is None:
        return layout.target_matrix(targets)
    return layout.target_matrix(targets - jnp.broadcast_to(start.train.astype(dtype), y.shape))


def _at_the_end(training: TrainingKernel, y: Array, start: Start) -> Any:
    """The outputs after training."""
    if start.test is None or start.cross is None:
        kernel = training.matrices(("ntk",))["ntk"]
        return y.astype(common_dtype(y, kernel))
    matrix, layout = training.matrices(("ntk",))["ntk"], training.layout
    cross, rows = start.cross
    dtype = common_dtype(y, matrix)
    weights = training.weights("ntk", matrix, _difference(y, start, dtype, layout))
    change = layout.outputs(highest(cross.astype(dtype), weights), rows)
    return start.answer(y.astype(dtype), _raised(start.test, change))


def _during(
    training: TrainingKernel, y: Array, start: Start, times: Array, learning_rate: Any
) -> Any:
    """The outputs at times that may be infinite."""
    matrix, layout = training.matrices(("ntk",))["ntk"], training.layout
    scaled, forever = scaled_times(times, learning_rate, y.size)
    modes = training.modes("ntk", matrix, forever)
    dtype = common_dtype(y, matrix)
    values, vectors = modes.values.astype(dtype), modes.vectors.astype(dtype)
    difference = highest(vectors.T, _difference(y, start, dtype, layout))

    def at_each(shares: Callable[[Array, Array], Array], basis: Array) -> Array:
        """The modes of y - f_train(0) times their shares at every time, in another basis."""
        one = lambda s: highest(basis, shares(values, s)[:, None] * difference)  # noqa: E731
        made = jax.vmap(one)(scaled.astype(dtype).reshape(-1))
        return made.reshape(*scaled.shape, *made.shape[1:])

    train = test = None
    if start.train is not None:
        left = layout.outputs(at_each(decay, vectors), layout.row_shape)
        train = y.astype(dtype).reshape((1,) * scaled.ndim + y.shape) - left
    if start.test is not None and start.cross is not None:
        cross, rows = start.cross
        basis = highest(cross.astype(dtype), vectors)
        test = _raised(start.test, layout.outputs(at_each(response, basis), rows))
    return start.answer(train, test)


def _raised(start: Array, change: Array) -> Array:
    """The outputs at time 0 plus a change that may have axes of times in front."""
    lead = (1,) * (change.ndim - start.ndim) if start.ndim else ()
    return start.astype(change.dtype).reshape(*lead, *start.shape) + change
