"""Second derivatives at equal points, where the distance of two images is at its bound of zero.

The first derivative of a distance is zero there. So what halves derivatives on a bound, as
`jnp.clip` and `jnp.maximum` do, is seen in the second derivatives alone.
"""

import functools

import jax
import numpy as np
import pytest

from ntkjax import stax
from tests.helpers import fast_jit

RNG = np.random.default_rng(0)
X, U = RNG.normal(size=(1, 3, 2)), RNG.normal(size=(1, 3, 2))
SUMS = RNG.normal(size=(2, 3))
DENSE = stax.Dense(1, 1.2, 0.3)
SMOOTH = DENSE, stax.Erf()
ATTENTION = functools.partial(stax.GlobalSelfAttention, 2, 2, 2, 2, linear_scaling=True)
BELOW = {
    "LayerNorm": (DENSE, stax.LayerNorm(), stax.Erf(), stax.Flatten()),
    "Recurrent": (stax.Recurrent(4, stax.Erf(), 1.2, 1.1, 0.2, 0.5),),
    "DotGeneral": (
        DENSE,
        stax.DotGeneral(rhs=SUMS, dimension_numbers=(((1,), (1,)), ((), ()))),
        stax.Erf(),
        stax.Flatten(),
    ),
    "AvgPool": (*SMOOTH, stax.AvgPool((2,)), *SMOOTH, stax.Flatten()),
    "SumPool": (*SMOOTH, stax.SumPool((2,), (2,), "SAME"), *SMOOTH, stax.Flatten()),
    "GlobalAvgPool": (*SMOOTH, stax.GlobalAvgPool(), *SMOOTH),
    "ImageResize": (*SMOOTH, stax.ImageResize((-1, 4, -1), "linear"), *SMOOTH, stax.Flatten()),
    "linear attention": (DENSE, ATTENTION(attention_mechanism="IDENTITY"), *SMOOTH, stax.Flatten()),
    "attention": (DENSE, ATTENTION(attention_mechanism="SOFTMAX"), *SMOOTH, stax.Flatten()),
    "FanInProd": (
        stax.FanOut(2),
        stax.parallel(stax.serial(*SMOOTH, DENSE), stax.serial(DENSE, stax.Gelu(), DENSE)),
        stax.FanInProd(),
        *SMOOTH,
        stax.Flatten(),
    ),
}


@pytest.mark.parametrize("name", list(BELOW))
def test_second_derivatives_are_those_of_differences(name):
    kernel_fn = stax.serial(*BELOW[name]).kernel_fn

    def kernel(s):
        return kernel_fn(X + s * U, X, "nngp")[0, 0]

    second = fast_jit(lambda: jax.jvp(lambda s: jax.jvp(kernel, (s,), (1.0,))[1], (0.0,), (1.0,)))
    step, value = 1e-3, fast_jit(kernel)
    difference = (value(step) - 2 * value(0.0) + value(-step)) / step**2
    np.testing.assert_allclose(second()[1], difference, rtol=1e-4)
