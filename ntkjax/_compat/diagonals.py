"""Variances out of covariances, and their products: what layers written for neural_tangents take.

Of `cov1`, (n1, h, h, w, w), the variances are (n1, h, w), and a nonlinearity wants

    prod11[i, h, h', w, w']    = op(var1[i, h, w], var1[i, h', w']),
    prod12[i, j, h, h', w, w'] = op(var1[i, h, w], var2[j, h', w']),

and prod22 as prod11 of the second batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from ntkjax._compat.axes import canonicalize_axis, diagonal_between, outer_prod, unzip_axes
from ntkjax._layers.masking import masked_mean


def get_diagonal(cov: Any, diagonal_batch: bool, diagonal_spatial: bool) -> Any:
    """The variances in a covariance of a batch with itself; None of None."""
    if cov is None:
        return None
    start = 1 if diagonal_batch else 0
    end = 2 - start if diagonal_spatial else cov.ndim
    return diagonal_between(unzip_axes(cov, start, end), start, end)


def get_diagonal_outer_prods(
    cov1: Any,
    cov2: Any,
    diagonal_batch: bool,
    diagonal_spatial: bool,
    operation: Callable[[Any, Any], Any],
    axis: Sequence[int] = (),
    mask1: Any = None,
    mask2: Any = None,
) -> tuple[Any, Any, Any]:
    """`operation` of all pairs of variances: in the first batch, between both, in the second.

    `axis` are axes of `cov1` over which variances are averaged first, where not masked.
    """
    if cov1 is None:
        raise ValueError(
            "get_diagonal_outer_prods: cov1 is None, expected the covariance of the first batch "
            "with itself; pass kernel.cov1 of a kernel made with get=None."
        )
    axes = canonicalize_axis(axis, cov1)
    one, two = (
        mean_and_var(get_diagonal(cov, diagonal_batch, diagonal_spatial), axes, keepdims=True,
                     mask=mask)[0]
        for cov, mask in ((cov1, mask1), (cov2, mask2))
    )  # fmt: skip
    end = 1 if diagonal_spatial else one.ndim
    start = 1 if diagonal_batch else 0
    prod11 = outer_prod(one, one, start, end, operation)
    prod22 = prod11 if two is None else outer_prod(two, two, start, end, operation)
    return prod11, outer_prod(one, two, 0, end, operation), prod22


def mean_and_var(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    mask: Any = None,
    get_var: bool = False,
) -> tuple[Any, Any]:
    """The mean and, with `get_var`, the variance along some axes, of what is not masked."""
    if x is None:
        return None, None
    if mask is None:
        mean = jnp.mean(x, axis, dtype, out, keepdims)
        return mean, jnp.var(x, axis, dtype, out, ddof, keepdims) if get_var else None
    axes = tuple(range(x.ndim) if axis is None else canonicalize_axis(axis, x))
    mean = masked_mean(x, mask, axes, keepdims=keepdims)
    if not get_var:
        return mean, None
    middle = masked_mean(x, mask, axes, keepdims=True)
    hidden = jnp.broadcast_to(mask, x.shape)
    squares = jnp.where(hidden, jnp.zeros((), x.dtype), jnp.square(x - middle))
    count = jnp.maximum(jnp.sum(~hidden, axes, keepdims=keepdims), 1) - ddof
    return mean, jnp.sum(squares, axes, keepdims=keepdims) / count.astype(x.dtype)
