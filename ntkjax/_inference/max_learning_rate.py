"""The largest learning rate with which gradient descent on the squared error converges."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ntkjax._inference.arguments import check_not_negative, kernel_array
from ntkjax._inference.layout import deinterleaved
from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.arrays import describe
from ntkjax._solve.semi_definite import check_semi_definite
from ntkjax._solve.symmetric import symmetrized


def max_learning_rate(
    ntk_train_train: Any,
    y_train_size: int | None = None,
    momentum: float = 0.0,
    eps: float = 1e-12,
) -> Any:
    r"""The largest learning rate for which gradient descent on the mean squared error converges.

    The loss is the mean over all N entries of the targets of `(f - y)^2 / 2`, so that a step of
    gradient descent multiplies `f - y` by :math:`1 - \eta \Theta / N`. It shrinks if

    .. math::
        \eta < \frac{2 (1 + \mu)\, N}{\lambda_\mathrm{max}(\Theta)},

    with :math:`\mu` the momentum of the heavy-ball method.

    Args:
      ntk_train_train: NTK of the training points, as a rule `(n_train, n_train)`; with further
        axes interleaved, `(n_train, n_train, c, c)`. An array, or an object with an `ntk`.
      y_train_size: N, `y_train.size`; None for the number of rows of the kernel as a matrix.
      momentum: :math:`\mu`, at least 0 and below 1.
      eps: what is added to the eigenvalue, so that a kernel of zeros gives a finite number.

    Returns:
      The learning rate, a scalar.

    Raises:
      ValueError: the kernel is not square, not symmetric or not finite; `momentum` is not in its
        range; `y_train_size` is not positive; the kernel has a negative eigenvalue, whose mode
        no learning rate settles.
      TypeError: an argument is not a real number.

    Source: Goh 2017, "Why momentum really works", section "The dynamics of momentum".

    Example:
      >>> import jax.numpy as jnp
      >>> round(float(max_learning_rate(jnp.diag(jnp.array([1.0, 4.0])), y_train_size=2)), 6)
      1.0
    """
    name = "ntk_train_train"
    kernel = kernel_array(ntk_train_train, "ntk", name)
    if kernel.ndim % 2 or kernel.ndim == 0 or kernel.shape[::2] != kernel.shape[1::2]:
        raise ValueError(
            f"{name} has shape {kernel.shape}, expected pairs of equal axes such as (n, n): pass "
            "the kernel of the training points with themselves"
        )
    check_not_negative(momentum, "momentum")
    check_not_negative(eps, "eps")
    if is_concrete(momentum) and not momentum < 1:
        raise ValueError(f"momentum must be below 1, got {momentum}: pass 0.9, say")
    matrix = symmetrized(deinterleaved(kernel), name)
    size = len(matrix) if y_train_size is None else y_train_size
    is_count = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
    if not is_count or size < 1:
        raise ValueError(
            f"y_train_size must be a positive integer, got {describe(size)}: pass y_train.size"
        )
    values = jnp.linalg.eigvalsh(matrix)
    if is_concrete(values):
        check_semi_definite(np.asarray(values), float(jnp.finfo(values.dtype).eps), name)
    largest = values[-1]
    return 2 * (1 + momentum) * size / (largest + eps)
