"""Derivatives of long pointwise computations, by forward mode alone.

A loop that is differentiated backwards keeps or repeats all of its steps. A pointwise function of
few arrays has few derivatives, one for each argument: they are made forwards, in the loop itself,
and what is differentiated backwards is their product with what comes in. So are theirs.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def forwards(
    fn: Callable[..., Any], differentiated: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """The same function of arrays that broadcast, each entry by itself, for both kinds of autodiff.

    `fn` takes arrays alone, and returns arrays of their common shape in any pytree. If there is
    `differentiated`, another way to compute the same, derivatives are those of this one.
    """
    source = fn if differentiated is None else differentiated

    @jax.custom_jvp
    @functools.wraps(fn)
    def wrapped(*arrays: Array) -> Any:
        return fn(*arrays)

    @wrapped.defjvp
    def _jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Any, Any]:
        value, slopes = forwards(functools.partial(_with_slopes, source))(*primals)

        def total(slope: Array) -> Array:
            # Of a derivative, which has axes of directions in front of those of the arrays.
            ndim = slope.ndim - 1
            changes = [jnp.reshape(t, (1,) * (ndim - t.ndim) + t.shape) for t in tangents]
            parts = [s * t for s, t in zip(slope, changes, strict=True)]
            return functools.reduce(jnp.add, parts)

        return value, jax.tree.map(total, slopes)

    return wrapped


def _with_slopes(fn: Callable[..., Any], *arrays: Array) -> tuple[Any, Any]:
    """What the function returns, and its derivatives by each argument, in front."""
    count = len(arrays)

    def along(which: Array) -> tuple[Any, Any]:
        tangents = tuple(jnp.full_like(a, which[i]) for i, a in enumerate(arrays))
        return jax.jvp(fn, arrays, tangents)

    directions = jnp.eye(count, dtype=arrays[0].dtype)
    return jax.vmap(along, out_axes=(None, 0))(directions)
