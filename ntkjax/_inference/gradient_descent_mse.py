"""Outputs of one network during training on the squared error, by its kernel."""

from collections.abc import Callable, Sequence
from typing import Any

from ntkjax._inference.arguments import targets_array
from ntkjax._inference.clock import FlowClock
from ntkjax._inference.one_network import OneNetwork


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
    clock = FlowClock(learning_rate, y.size)
    network = OneNetwork(k_train_train, y, clock, diag_reg, diag_reg_absolute_scale, trace_axes)

    def predict_fn(
        t: Any = None, fx_train_0: Any = 0.0, fx_test_0: Any = None, k_test_train: Any = None
    ) -> Any:
        return network.outputs(t, fx_train_0, fx_test_0, k_test_train)

    return predict_fn
