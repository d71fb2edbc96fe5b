r"""1 - exp(-x), with all digits where x is small, and faster than `jnp.expm1`.

With k the integer nearest to x / log 2, and r = x - k log 2, so that abs(r) is at most 0.35,

    1 - exp(-x) = (1 - 2^-k) + 2^-k (1 - exp(-r)),    1 - exp(-r) = r - r^2 (1/2! - r/3! + ...).

The first term is exact, and neither is negative by more than the other is positive: for k = 0 it
vanishes, and for k >= 1 the sum is at least 0.29. The product k log 2 is subtracted in two parts,
the first of which has so few bits that it is exact (Cody and Waite 1980, "Software Manual for the
Elementary Functions", chapter 6). On a CPU, XLA makes one vectorized loop of this.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


class _Format(NamedTuple):
    """What depends on the floating-point format.

    Attributes:
      most: from here on the result is 1.
      upper: the leading bits of log 2, and so few that k times them is exact.
      lower: what is left of it.
      terms: powers of r with a share in the result.
      integer: the type of integers of as many bits.
      bias: exponent of 1 as a number, and how many bits stand behind it.
    """

    most: float
    upper: float
    lower: float
    terms: int
    integer: type
    bias: tuple[int, int]


_SINGLE = _Format(18.0, 0.693145751953125, 1.4286068203094172e-06, 7, np.int32, (127, 23))
_DOUBLE = _Format(38.0, 0.6931471803691238, 1.9082149292705877e-10, 13, np.int64, (1023, 52))


@jax.custom_jvp
def one_minus_exp(x: Array) -> Array:
    """1 - exp(-x) of x >= 0, to about one unit in the last place; also of x a little below zero."""
    single = x.dtype == jnp.float32
    of = _SINGLE if single else _DOUBLE
    x = jnp.minimum(x, jnp.asarray(of.most, x.dtype))
    k = jnp.round(x * (1 / math.log(2)))
    r = (x - k * of.upper) - k * of.lower
    series = jnp.zeros_like(r)
    for n in range(of.terms, 1, -1):
        series = 1 / math.factorial(n) - r * series
    zero, bits = of.bias
    power = lax.bitcast_convert_type((zero - k.astype(of.integer)) << bits, x.dtype)  # 2^-k
    return (1 - power) + power * (r - r * r * series)


@one_minus_exp.defjvp
def _one_minus_exp_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return one_minus_exp(x), jnp.exp(-x) * dx
