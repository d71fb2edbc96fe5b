"""Outputs of one network after steps of gradient descent on the squared error, by its kernel."""

from collections.abc import Callable, Sequence
from typing import Any

from ntkjax._inference.arguments import targets_array
from ntkjax._inference.clock import StepClock
from ntkjax._inference.one_network import OneNetwork


def gradient_descent_mse_steps(
    k_train_train: Any,
    y_train: Any,
    learning_rate: float,
    momentum: float = 0.0,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
    trace_axes: int | Sequence[int] = (-1,),
) -> Callable[..., Any]:
    r"""Outputs of a network after whole steps of gradient descent on the squared error.

    The loss is the mean over all N entries of `y_train` of `(f - y)^2 / 2`, as in
    `gradient_descent_mse`, which is the flow that small steps follow. Weights move by

    .. math::
        v \leftarrow \mu v + \nabla L, \qquad w \leftarrow w - \eta v

    from v = 0: gradient descent for :math:`\mu = 0`, else the heavy-ball method, which `optax.sgd`
    and `torch.optim.SGD` call momentum. With :math:`\Theta` the kernel of the training points after
    regularisation and :math:`\Theta_*` that of test with training points, after t steps

    .. math::
        f(t) = y + d_t(\eta \Theta / N)\, (f(0) - y), \qquad
        f_*(t) = f_*(0) + \Theta_* \Theta^{-1} (1 - d_t(\eta \Theta / N))\, (y - f(0)),

    with :math:`d_t(x) = (1 - x)^t` without momentum, and with it :math:`d_0 = 1`, :math:`d_1 = 1 -
    x`, :math:`d_{t+1} = (1 + \mu - x)\, d_t - \mu\, d_{t-1}`. No steps are made: the share of each
    mode is in closed form, and exact to rounding for any number of steps.

    With the empirical NTK this is the training of the linearised network, with an exact one that of
    an infinitely wide network, in both cases by full batches.

    Args:
      k_train_train: kernel of the training points: an array, of the shape of `y_train` with each
        axis that is not in `trace_axes` twice, as a rule `(n_train, n_train)`; or an object with
        an `ntk`, such as a `Kernel`.
      y_train: targets, as a rule `(n_train, n_outputs)`.
      learning_rate: :math:`\eta`, above 0 and below :math:`2 (1 + \mu) N / \lambda_\mathrm{max}`,
        which `max_learning_rate` computes.
      momentum: :math:`\mu`, at least 0 and below 1.
      diag_reg: multiple of the identity that is added to the training kernel, at least 0.
      diag_reg_absolute_scale: False: `diag_reg` is in units of the mean of the kernel's diagonal.
        True: it is added as it is.
      trace_axes: axes of `y_train` that the kernel lacks, being the identity along them.

    Returns:
      `predict_fn(steps=None, fx_train_0=0., fx_test_0=None, k_test_train=None)`. `steps` is None or
      infinity (the end of training), a number of steps, or an array of them of any shape, whose
      axes come first in the answer. All else is as in `gradient_descent_mse`: the outputs on the
      training points; with `fx_test_0`, which needs `k_test_train`, `(fx_train_t, fx_test_t)`; with
      `fx_train_0=None` those on the test points alone.

    Raises:
      ValueError: the learning rate diverges (the message says the largest that does not); a shape
        does not fit `y_train`; targets are empty or not finite; `diag_reg` or `momentum` is
        negative, or `momentum` not below 1; `steps` are negative or not whole; `fx_test_0` comes
        without `k_test_train`, or nothing is asked for; the training kernel has a negative
        eigenvalue, or for the end of training is not positive definite in its dtype.
      TypeError: an argument is not real.

    Source: Lee et al. 2019, arXiv 1902.06720, section 2.2; Goh 2017, "Why momentum really works".

    Example:
      >>> import jax.numpy as jnp
      >>> kernel, y = jnp.array([[2.0, 0.0], [0.0, 4.0]]), jnp.array([[1.0], [1.0]])
      >>> predict_fn = gradient_descent_mse_steps(kernel, y, learning_rate=0.25)
      >>> print(predict_fn(2))  # 1 - (1 - 0.25 * 2 / 2)^2, 1 - (1 - 0.25 * 4 / 2)^2
      [[0.4375]
       [0.75  ]]
      >>> with_momentum = gradient_descent_mse_steps(kernel, y, learning_rate=0.25, momentum=0.5)
      >>> with_momentum(jnp.arange(3), 0.0, 0.0, jnp.array([[1.0, 2.0]]))[1].shape
      (3, 1, 1)
    """
    y = targets_array(y_train)
    clock = StepClock(learning_rate, momentum, y.size)
    network = OneNetwork(k_train_train, y, clock, diag_reg, diag_reg_absolute_scale, trace_axes)

    def predict_fn(
        steps: Any = None, fx_train_0: Any = 0.0, fx_test_0: Any = None, k_test_train: Any = None
    ) -> Any:
        return network.outputs(steps, fx_train_0, fx_test_0, k_test_train)

    return predict_fn
