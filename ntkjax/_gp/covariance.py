"""The covariance of a process: the kernel of a network, which may depend on parameters."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from ntkjax._inference.arguments import kernel_array
from ntkjax._kernel.arrays import describe
from ntkjax._solve.symmetric import symmetrized

#: Test points whose variances are computed at a time.
CHUNK = 256


@dataclasses.dataclass(frozen=True)
class Covariance:
    """A kernel function and which of its kernels is the covariance."""

    kernel_fn: Callable[..., Any]
    get: str

    def matrix(self, x: Array) -> Array:
        """The covariance of points with themselves, `(n, n)`, symmetric."""
        name = "kernel_fn(x)"
        kernel = self._checked(self.kernel_fn(x, None, self.get), name, len(x), len(x))
        return symmetrized(kernel, name)

    def cross(self, x1: Array, x2: Array) -> Array:
        """The covariance of points with others, `(n1, n2)`."""
        name = "kernel_fn(x1, x2)"
        return self._checked(self.kernel_fn(x1, x2, self.get), name, len(x1), len(x2))

    def variances(self, x: Array) -> Array:
        """The variance at each of at most `CHUNK` points, `(n,)`."""
        return jnp.diagonal(self.matrix(x))

    def with_points(self, x: Array, others: Array, dtype: Any) -> tuple[Array, Array]:
        """The covariance `(m, n)` of at most `CHUNK` points with others, and their variances."""
        return self.cross(x, others).astype(dtype), self.variances(x).astype(dtype)

    def _checked(self, kernel: Any, name: str, n1: int, n2: int) -> Array:
        array = kernel_array(kernel, self.get, name)
        if array.shape != (n1, n2):
            raise ValueError(
                f"{name} has shape {array.shape}, expected {(n1, n2)}, a number for each pair of "
                "points: end the network with Flatten or GlobalAvgPool and Dense, and see that the "
                "first axis of x counts the points"
            )
        return array


def in_chunks(x: Array, of_chunk: Callable[[Array], tuple[Array, ...]]) -> tuple[Array, ...]:
    """What a function returns for points, `CHUNK` at a time, arrays with a row for each."""
    size = min(CHUNK, len(x))
    # The last chunk overlaps the one before, so that all have one shape and one program.
    starts = [*range(0, len(x) - size, size), len(x) - size]
    made = []
    for i, start in enumerate(starts):
        done = i * size - start
        made.append([array[done:] for array in of_chunk(x[start : start + size])])
    return tuple(jnp.concatenate(parts) for parts in zip(*made, strict=True))


def covariance_of(network: Any, params: Mapping[str, Any] | None, get: str) -> Covariance:
    """The covariance of a triple, a kernel function, or a function of parameters to either."""
    if params is not None:
        given = f"params, {', '.join(map(repr, params)) or 'of which there are none'}"
        mend = "pass lambda W_std: stax.serial(...) with params={'W_std': 1.0}, or params=None"
        _check_call(network, "network", given, mend, **params)
    made = network if params is None else network(**params)
    if isinstance(made, tuple) and len(made) >= 3 and callable(made[2]):
        made = made[2]
    if not callable(made):
        came = describe(made)
        came = came if params is None else f"a function that returns {came}"
        raise TypeError(
            f"network is {came}, expected a triple (init_fn, apply_fn, kernel_fn), a kernel_fn, or "
            "with params a function of them that returns either: pass stax.serial(...), or "
            "lambda W_std: stax.serial(...) with params={'W_std': 1.0}"
        )
    mend = "pass stax.serial(...), or a function that takes these three"
    _check_call(made, "kernel_fn", "x1, x2 and get", mend, None, None, get)
    return Covariance(made, get)


def _check_call(function: Any, name: str, given: str, mend: str, *args: Any, **kw: Any) -> None:
    """Raises TypeError where what the user passed is no function of some arguments."""
    if not callable(function):
        raise TypeError(f"{name} is {describe(function)}, expected a function of {given}: {mend}")
    try:
        inspect.signature(function).bind(*args, **kw)
    except TypeError as error:
        raise TypeError(f"{name} is no function of {given}, as it has {error}: {mend}") from None
    except ValueError:
        return  # Python knows no signature of it.
