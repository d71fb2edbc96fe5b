"""Posterior of a Gaussian process, and the end of training of an ensemble, from kernels."""

from collections.abc import Callable, Sequence
from typing import Any

from ntkjax._inference.arguments import diagonal_regularizer, targets_array
from ntkjax._inference.layout import layout_of
from ntkjax._inference.posterior import posterior
from ntkjax._inference.training_kernel import TrainingKernel
from ntkjax._kernel.devices import on_one_device
from ntkjax._kernel.get import answer, requested_names
from ntkjax._solve.report import SolveReport

_DEFAULT = ("nngp", "ntk")
_KNOWN = ("nngp", "ntk", "ntkgp")


def gp_inference(
    k_train_train: Any,
    y_train: Any,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
    trace_axes: int | Sequence[int] = (-1,),
) -> Callable[..., Any]:
    r"""Mean and covariance of test outputs given training targets, from kernel matrices.

    With K the NNGP, T the NTK, * the test points, and `inv` taken after regularisation:

    - `"nngp"`, the posterior of an infinitely wide Bayesian network:
      `mean = K* inv(K) y`, `cov = K** - K* inv(K) K*'`;
    - `"ntk"`, the ensemble of infinitely wide networks trained by gradient flow without end:
      `mean = T* inv(T) y`, `cov = K** + T* inv(T) K inv(T) T*' - (T* inv(T) K*' + transpose)`;
    - `"ntkgp"`, the Gaussian process whose covariance is the NTK:
      `mean = T* inv(T) y`, `cov = T** - T* inv(T) T*'`.

    The Cholesky factor of a training kernel is computed on first use and kept.

    Args:
      k_train_train: kernel of the training points with themselves: an array, or a named tuple or
        Kernel with `nngp` and/or `ntk`. For targets `(n_train, n_outputs)` and the default
        `trace_axes`, of shape `(n_train, n_train)`; in general the axes of `y_train` not in
        `trace_axes`, each twice, interleaved.
      y_train: targets, as a rule `(n_train, n_outputs)`. Integers are converted to float.
      diag_reg: multiple of the identity that is added to the training kernel, at least 0.
      diag_reg_absolute_scale: False: `diag_reg` is in units of the mean of the kernel's diagonal.
        True: it is added as it is.
      trace_axes: axes of `y_train` that kernels lack, the kernel being the identity along them.

    Returns:
      `predict_fn(get=None, k_test_train=None, k_test_test=None)`. `get` is one of the names above,
      a tuple of them (a named tuple comes back), or None for `("nngp", "ntk")`. `k_test_train` is
      the kernel `(n_test, n_train)` of test with training points, and `k_test_test` `(n_test,
      n_test)` that of the test points; the covariance of `"ntk"` uses the NNGP of both and of
      training. It returns the mean where `k_test_test` is None, else `Gaussian(mean, covariance)`.
      Without `k_test_train` it returns the posterior on the training points without regularisation,
      `y_train` and 0. `predict_fn.report(name)` is the `SolveReport` of the solve for one of these
      names: its method, jitter, smallest eigenvalue and condition number.

    Raises:
      ValueError: a kernel's shape does not fit `y_train`; targets are empty or not finite;
        `diag_reg` is negative; `get` is unknown; a kernel is missing, or is not positive definite
        in its dtype (the message says which `diag_reg` would do). Inside a caller's `jit` a kernel
        that is traced has no values to look at: a singular one is mended there as by
        `predict.solve`, never NaN, and `predict_fn.report` says so.
      TypeError: an argument is not real, or `get` is no string or tuple.

    Source: Rasmussen and Williams 2006, equations 2.25 and 2.26; Lee et al. 2019, arXiv 1902.06720,
    section 2.3; He et al. 2020, arXiv 2007.05864 (`"ntkgp"`).

    Example:
      >>> import jax.numpy as jnp
      >>> k_train_train = jnp.array([[4.0, 2.0], [2.0, 5.0]])
      >>> predict_fn = gp_inference(k_train_train, jnp.array([[16.0], [0.0]]))
      >>> print(predict_fn("nngp", k_test_train=jnp.array([[2.0, 1.0]])))
      [[8.]]
      >>> predict_fn("nngp", jnp.array([[2.0, 1.0]]), jnp.array([[4.0]])).covariance.item()
      3.0
    """
    k_train_train, y = on_one_device(k_train_train, targets_array(y_train))
    regularizer = diagonal_regularizer(diag_reg, diag_reg_absolute_scale)
    layout = layout_of(y, trace_axes)
    training = TrainingKernel(lambda _: k_train_train, "k_train_train", layout, regularizer)

    def predict_fn(get: Any = None, k_test_train: Any = None, k_test_test: Any = None) -> Any:
        names = requested_names(get, _KNOWN, f"{_DEFAULT}") or _DEFAULT
        if "ntk" in names and k_test_train is not None and k_test_test is not None:
            _check_has_both(k_train_train, "k_train_train")
            _check_has_both(k_test_train, "k_test_train")
        home = k_train_train, y
        _, k_test_train, k_test_test = on_one_device(home, k_test_train, k_test_test)

        def predict(name: str) -> Any:
            return posterior(training, y, name, k_test_train, k_test_test)

        return answer(get, names, predict, "Gaussians")

    def report(name: str) -> SolveReport:
        (kind,) = requested_names(name, _KNOWN, "one kernel") or _DEFAULT[:1]
        return training.report("ntk" if kind == "ntkgp" else kind)

    predict_fn.report = report
    return predict_fn


def _check_has_both(kernel: Any, name: str) -> None:
    if getattr(kernel, "nngp", None) is None or getattr(kernel, "ntk", None) is None:
        raise ValueError(
            f"{name} must hold both nngp and ntk for the covariance of 'ntk', got"
            f" {type(kernel).__name__}: pass kernel_fn(x1, x2, get=('nngp', 'ntk')), or ask for"
            " get='ntkgp' or for the mean alone"
        )
