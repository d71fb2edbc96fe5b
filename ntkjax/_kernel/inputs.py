"""Inputs: the checks that they must pass, and their distances.

Distances are sums of squared differences, never differences of products, so that near-equal inputs
keep all their digits.
"""

import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

from ntkjax._kernel.boundary import materialized
from ntkjax._kernel.diagonals import Diagonals
from ntkjax._kernel.signal import Signal

#: How many channels are summed in one pass over a block of pairs: enough that the block is read and
#: written rarely, few enough that the inputs stay in registers.
_CHANNELS_AT_ONCE = 16


def as_floats(name: str, x: object) -> Array:
    """An input as a floating-point array; raises where it is none."""
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        x = np.asarray(x)
    dtype = np.dtype(x.dtype)  # type: ignore[attr-defined]
    if not (jnp.issubdtype(dtype, np.number) or dtype.kind == "b") or jnp.issubdtype(
        dtype, np.complexfloating
    ):
        raise TypeError(
            f"kernel_fn: {name} has dtype {dtype}, expected real numbers; convert it to floats "
            "first (complex inputs: stack real and imaginary parts as channels)."
        )
    if not jnp.issubdtype(dtype, np.floating):
        x = jnp.asarray(x, float)
    elif dtype.itemsize > 4 and jnp.zeros((), float).dtype != np.float64:
        warnings.warn(
            f"kernel_fn: {name} has dtype {dtype}, but JAX keeps float32; the kernel is computed "
            "in float32. Call jax.config.update('jax_enable_x64', True) for float64, or convert "
            f"{name} to float32 to silence this.",
            stacklevel=3,
        )
        x = jnp.asarray(x, jnp.float32)
    elif dtype.itemsize < 4:
        x = jnp.asarray(x, jnp.float32)
    x = jnp.asarray(x)
    if x.ndim < 2:
        raise ValueError(
            f"kernel_fn: {name} has shape {x.shape}, expected at least a batch and a channel axis; "
            f"a single example x is {name}=x[None, :]."
        )
    if 0 in x.shape:
        raise ValueError(
            f"kernel_fn: {name} has shape {x.shape}, which is empty; expected at least one example "
            "with at least one position and channel."
        )
    if not isinstance(x, Tracer) and not _is_finite(x):
        raise ValueError(
            f"kernel_fn: {name} holds NaN or infinite values, for which no kernel is defined; drop "
            "or fill these entries first."
        )
    return x


def _is_finite(x: Array) -> bool:
    """Whether there is neither NaN nor infinity; also within a program of the caller's."""
    with jax.ensure_compile_time_eval():
        return bool(jnp.all(jnp.isfinite(x)))


def by_position(x: Array, signal: Signal, grid: Diagonals) -> Array:
    """A batch as `[channel, position per axis ..., image]`, padded to the periods."""
    x = jnp.transpose(x, (signal.channel_axis, *signal.spatial_axes, signal.batch_axis))
    pad = [(0, period - size) for size, period in zip(grid.sizes, grid.periods, strict=True)]
    return jnp.pad(x, [(0, 0), *pad, (0, 0)])


def squared_distance(a: Array, b: Array) -> Array:
    """(a - b)^2: the term of a distance, summed over channels."""
    return jnp.square(a - b)


def mean_over_channels(term: Callable[[Array, Array], Array], first: Array, second: Array) -> Array:
    """Mean over the leading axis of `term(first, second)`, without storing the terms.

    Sums of a few channels are added up, which rounds less than adding one channel after the other.
    """

    def summed(a: Array, b: Array) -> Array:
        terms = [term(a[i], b[i]) for i in range(a.shape[0])]
        while len(terms) > 1:
            pairs = zip(terms[::2], terms[1::2], strict=False)
            terms = [x + y for x, y in pairs] + (terms[-1:] if len(terms) % 2 else [])
        return terms[0]

    channels = first.shape[0]
    chunks, rest = divmod(channels, _CHANNELS_AT_ONCE)
    if not chunks:
        return summed(first, second) / channels

    def split(x: Array) -> Array:
        return x[rest:].reshape(chunks, _CHANNELS_AT_ONCE, *x.shape[1:])

    def body(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
        # Stored, so that the loop's place among the channels is taken once: within the sum, XLA on
        # CPU takes it for every pair, and four times as long.
        return materialized(lambda of: of[0] + summed(*of[1:]), (total, *part)), None

    shape = jax.eval_shape(term, first[0], second[0])
    start = summed(first[:rest], second[:rest]) if rest else jnp.zeros(shape.shape, shape.dtype)
    total, _ = lax.scan(body, start, (split(first), split(second)))
    return total / channels
