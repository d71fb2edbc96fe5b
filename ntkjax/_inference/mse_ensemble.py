"""Outputs of an infinite ensemble of networks during training on the squared error."""

from collections.abc import Callable, Sequence
from typing import Any

from ntkjax._inference.arguments import targets_array
from ntkjax._inference.clock import FlowClock
from ntkjax._inference.ensemble import Ensemble


def gradient_descent_mse_ensemble(
    kernel_fn: Callable[..., Any],
    x_train: Any,
    y_train: Any,
    learning_rate: float = 1.0,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
    trace_axes: int | Sequence[int] = (-1,),
    **kernel_fn_train_train_kwargs: Any,
) -> Callable[..., Any]:
    r"""Outputs at time `t` of an infinite ensemble trained by gradient flow on the squared error.

    The loss is the mean over all entries of `y_train` of `(f - y)^2 / 2`. With K the NNGP, T the
    kernel of `get` on the training points after regularisation, * the test points, `s =
    learning_rate t / y_train.size`:

    `mean(t) = W y`, `cov(t) = K** + W K W' - (W K*' + transpose)`, `W = T* inv(T) (1 - exp(-s T))`.

    `get="ntk"` trains all layers; `get="nngp"`, where T = K, the last layer alone. Modes are taken
    one by one from the eigendecomposition of T, with `expm1`, so that small eigenvalues and short
    times keep their digits. Kernels, the eigendecomposition (finite `t`) and the Cholesky factor
    (`t=None`) are computed on first use and kept.

    Args:
      kernel_fn: `kernel_fn(x1, x2, get, **kwargs)`, which returns an object with `nngp` and/or
        `ntk`.
      x_train: training inputs.
      y_train: targets, as a rule `(n_train, n_outputs)`. Integers are converted to float.
      learning_rate: rate of gradient flow, at least 0: time is counted in units of its inverse.
      diag_reg: multiple of the identity that is added to the training kernel, at least 0.
      diag_reg_absolute_scale: False: `diag_reg` is in units of the mean of the kernel's diagonal.
        True: it is added as it is.
      trace_axes: axes of `y_train` that kernels lack, the kernel being the identity along them.
      **kernel_fn_train_train_kwargs: passed to `kernel_fn`. Where `predict_fn` is given a keyword
        of the same name, test points take that one, and pairs of arrays `(for x1, for x2)` are
        joined for test with training points; other values must be equal.

    Returns:
      `predict_fn(t=None, x_test=None, get=None, compute_cov=False, **kernel_fn_test_test_kwargs)`.
      `t` is None or infinity (the end of training), a time, or an array of times of any shape,
      whose axes come first in the answer. `get` is `"nngp"`, `"ntk"`, a tuple of them (a named
      tuple comes back), or None for both. It returns the mean, `(*t.shape, n_test, n_outputs)`, or
      with `compute_cov` `Gaussian(mean, covariance)`, the covariance `(*t.shape, n_test, n_test)`.
      Without `x_test` it returns the outputs on the training points; with `t=None` too, they are
      `y_train` and 0, without regularisation.

    Raises:
      ValueError: a kernel's shape does not fit `y_train`; targets are empty or not finite;
        `diag_reg`, `learning_rate` or a time is negative; `get` is unknown; the training kernel has
        a negative eigenvalue, or for the end of training is not positive definite in its dtype (the
        message says which `diag_reg` would do). Inside a caller's `jit` a kernel that is traced has
        no values to look at: a singular one is mended there, as by `predict.solve`.
      TypeError: an argument is not real, `get` is no string or tuple, or a keyword is unknown.

    Gradients with respect to the training kernel at finite `t` go through its eigenvectors: they
    need distinct eigenvalues. Those with respect to `x_test`, `t` and `y_train` need nothing.

    Source: Lee et al. 2019, arXiv 1902.06720, sections 2.2 and 2.3.

    Example:
      >>> import jax.numpy as jnp
      >>> from types import SimpleNamespace
      >>> def kernel_fn(x1, x2=None, get=None):
      ...     k = x1 @ (x1 if x2 is None else x2).T + 1.0
      ...     return SimpleNamespace(nngp=k, ntk=2.0 * k)
      >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([[1.0], [2.0]])
      >>> predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y)
      >>> print(predict_fn(None, jnp.array([[3.0]]), "ntk").round(3))
      [[4.]]
      >>> times = jnp.array([0.0, 1.0, 10.0])
      >>> predict_fn(times, jnp.array([[3.0]]), compute_cov=True).ntk.covariance.shape
      (3, 1, 1)
    """
    y = targets_array(y_train)
    ensemble = Ensemble(
        kernel_fn,
        x_train,
        y,
        FlowClock(learning_rate, y.size),
        (diag_reg, diag_reg_absolute_scale),
        trace_axes,
        kernel_fn_train_train_kwargs,
    )

    def predict_fn(
        t: Any = None,
        x_test: Any = None,
        get: Any = None,
        compute_cov: bool = False,
        **kernel_fn_test_test_kwargs: Any,
    ) -> Any:
        return ensemble.outputs(t, x_test, get, compute_cov, kernel_fn_test_test_kwargs)

    return predict_fn
