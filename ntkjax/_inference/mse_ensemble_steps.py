"""Outputs of an infinite ensemble after steps of gradient descent on the squared error."""

from collections.abc import Callable, Sequence
from typing import Any

from ntkjax._inference.arguments import targets_array
from ntkjax._inference.clock import StepClock
from ntkjax._inference.ensemble import Ensemble


def gradient_descent_mse_ensemble_steps(
    kernel_fn: Callable[..., Any],
    x_train: Any,
    y_train: Any,
    learning_rate: float,
    momentum: float = 0.0,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
    trace_axes: int | Sequence[int] = (-1,),
    **kernel_fn_train_train_kwargs: Any,
) -> Callable[..., Any]:
    r"""Mean and covariance of an infinite ensemble after whole steps of gradient descent.

    The loss is the mean over all N entries of `y_train` of `(f - y)^2 / 2`, as in
    `gradient_descent_mse_ensemble`, which is the flow that small steps follow. With K the NNGP,
    T the kernel of `get` on the training points after regularisation and * the test points, after
    t steps

    `mean(t) = W y`, `cov(t) = K** + W K W' - (W K*' + transpose)`, `W = T* inv(T) (1 - d_t(x))`

    with `x = learning_rate T / N` and the shares d of `gradient_descent_mse_steps`: `(1 - x)^t`
    without momentum. The covariance is over the weights at the start.

    `get="ntk"` trains all layers; `get="nngp"`, where T = K, the last layer alone. Kernels and
    eigendecompositions are computed on first use and kept.

    Args:
      kernel_fn: `kernel_fn(x1, x2, get, **kwargs)`, which returns an object with `nngp` and/or
        `ntk`.
      x_train: training inputs.
      y_train: targets, as a rule `(n_train, n_outputs)`. Integers are converted to float.
      learning_rate: above 0 and below `2 (1 + momentum) N` divided by the largest eigenvalue of T,
        which `max_learning_rate` computes.
      momentum: of the heavy-ball method, at least 0 and below 1.
      diag_reg: multiple of the identity that is added to the training kernel, at least 0.
      diag_reg_absolute_scale: False: `diag_reg` is in units of the mean of the kernel's diagonal.
        True: it is added as it is.
      trace_axes: axes of `y_train` that kernels lack, the kernel being the identity along them.
      **kernel_fn_train_train_kwargs: passed to `kernel_fn`, as in `gradient_descent_mse_ensemble`.

    Returns:
      `predict_fn(steps=None, x_test=None, get=None, compute_cov=False,
      **kernel_fn_test_test_kwargs)`. `steps` is None or infinity (the end of training), a number of
      steps, or an array of them of any shape, whose axes come first in the answer. All else is as
      in `gradient_descent_mse_ensemble`.

    Raises:
      ValueError: the learning rate diverges for a kernel of `get` (the message says the largest
        that does not); `steps` are negative or not whole; and what `gradient_descent_mse_ensemble`
        refuses.
      TypeError: an argument is not real, `get` is no string or tuple, or a keyword is unknown.

    Source: Lee et al. 2019, arXiv 1902.06720, sections 2.2 and 2.3; Goh 2017, "Why momentum really
    works".

    Example:
      >>> import jax.numpy as jnp
      >>> from types import SimpleNamespace
      >>> def kernel_fn(x1, x2=None, get=None):
      ...     k = x1 @ (x1 if x2 is None else x2).T + 1.0
      ...     return SimpleNamespace(nngp=k, ntk=2.0 * k)
      >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([[1.0], [2.0]])
      >>> predict_fn = gradient_descent_mse_ensemble_steps(
      ...     kernel_fn, x, y, learning_rate=0.3, momentum=0.5
      ... )
      >>> steps = jnp.array([0, 1, 10, 1_000_000])
      >>> later = predict_fn(steps, jnp.array([[3.0]]), "ntk", compute_cov=True)
      >>> later.covariance.shape
      (4, 1, 1)
      >>> print(later.mean[-1].round(3))
      [[4.]]
    """
    y = targets_array(y_train)
    ensemble = Ensemble(
        kernel_fn,
        x_train,
        y,
        StepClock(learning_rate, momentum, y.size),
        (diag_reg, diag_reg_absolute_scale),
        trace_axes,
        kernel_fn_train_train_kwargs,
    )

    def predict_fn(
        steps: Any = None,
        x_test: Any = None,
        get: Any = None,
        compute_cov: bool = False,
        **kernel_fn_test_test_kwargs: Any,
    ) -> Any:
        return ensemble.outputs(steps, x_test, get, compute_cov, kernel_fn_test_test_kwargs)

    return predict_fn
