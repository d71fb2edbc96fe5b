"""Gradients by standard deviations are finite too, at equal, opposite, zero and near-equal inputs.

The contract says the same of gradients by inputs, for every case. Here networks are built inside
the differentiated function, with standard deviations passed traced.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from ntkjax.stax import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, LayerNorm, Relu, serial
from tests.helpers import fast_jit


def fully_connected(layer):
    def build(w_std, b_std):
        return serial(Dense(1, w_std), layer, Dense(1, w_std, b_std), layer, Dense(1, w_std))

    return build, (3,)


def convolutional(*top):
    def build(w_std, b_std):
        first, second = Conv(1, (2,), padding="SAME", W_std=w_std), Conv(1, (3,), b_std=b_std)
        return serial(first, AvgPool((2,), padding="SAME"), Relu(), second, *top)

    return build, (4, 2)


NETWORKS = {
    "relu": fully_connected(Relu()),
    "erf": fully_connected(stax.Erf()),
    "gelu": fully_connected(stax.Gelu()),
    "abs": fully_connected(stax.Abs()),
    "leaky": fully_connected(stax.LeakyRelu(0.1)),
    "norm": fully_connected(LayerNorm()),
    "pool and flatten": convolutional(Relu(), Flatten()),
    "global pool": convolutional(GlobalAvgPool(), Relu()),
}


#: Below a nonlinearity, a pool knows the distance of near-equal images to a rounding of their
#: variance only (docs/theory.md, "What is left"), so that angles have half of their digits.
POOLS_OF_NEAR_EQUAL_IMAGES = {np.float32: 3e-4, np.float64: 1e-7}


def special_points(shape):
    """A point, the same again, its opposite, itself scaled, nearly itself, and zero."""
    x = np.random.default_rng(0).normal(size=shape)
    near = x + 1e-7 * np.random.default_rng(1).normal(size=shape)
    return np.stack([x, x, -x, 2 * x, near, 0 * x])


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, np.float32) for name in NETWORKS] + [("global pool", np.float64)],
)
def test_nothing_is_nan(name, dtype):
    build, shape = NETWORKS[name]
    x = special_points(shape).astype(dtype)
    # Weights, so that gradients of equal points do not cancel.
    weights = np.random.default_rng(2).normal(size=(len(x), len(x))).astype(dtype)

    def values(x1, x2, w_std, b_std):
        kernel_fn = build(w_std, b_std).kernel_fn
        pairs = kernel_fn(x1, x2, ("nngp", "ntk")), kernel_fn(x1, None, ("nngp", "ntk"))
        total = sum(jnp.sum(weights * array) for array in jax.tree.leaves(pairs))
        return total, pairs

    program = fast_jit(jax.value_and_grad(values, (0, 1, 2, 3), has_aux=True))
    (_, kernels), gradients = program(x, x, dtype(1.3), dtype(0.2))
    for array in jax.tree.leaves((kernels, gradients)):
        assert array.dtype == dtype
        assert np.all(np.isfinite(array))
    both, one = kernels
    rounding = 1e-5 if dtype == np.float32 else 1e-7
    tolerance = POOLS_OF_NEAR_EQUAL_IMAGES[dtype] if "pool" in name else rounding
    for cross, own in zip(both, one, strict=True):
        np.testing.assert_allclose(cross, own, rtol=tolerance, atol=tolerance * np.max(own))
        assert np.linalg.eigvalsh(own)[0] >= -tolerance * np.max(own)
    # Equal points are equal rows.
    np.testing.assert_allclose(both[0][0], both[0][1], rtol=rounding, atol=rounding)
    for gradient in gradients[2:]:
        assert gradient != 0


def test_gradients_with_respect_to_standard_deviations():
    """Against finite differences, through a network that is built while differentiating."""
    build, shape = NETWORKS["pool and flatten"]
    x = np.random.default_rng(0).normal(size=(3, *shape))

    @fast_jit
    def value(w_std, b_std):
        pair = build(w_std, b_std).kernel_fn(x, None, ("nngp", "ntk"))
        return jnp.sum(jnp.cos(jnp.arange(9.0)).reshape(3, 3) * (pair.nngp + pair.ntk))

    step = 1e-5
    gradients = fast_jit(jax.grad(lambda pair: value.__wrapped__(*pair)))((1.3, 0.2))
    for i, gradient in enumerate(gradients):
        up, down = ([1.3, 0.2], [1.3, 0.2])
        up[i] += step
        down[i] -= step
        np.testing.assert_allclose(gradient, (value(*up) - value(*down)) / (2 * step), rtol=1e-7)
