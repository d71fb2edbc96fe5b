"""LayerNorm over the examples of a batch divides by what all of them have in common."""

import jax
import numpy as np
import pytest

from ntkjax import stax

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(4, 3, 2, 2)), RNG.normal(size=(3, 3, 2, 2))
CONV = stax.Conv(1, (2, 1), W_std=1.5, b_std=0.3)


@pytest.mark.parametrize(
    ("axis", "over"), [((0, -1), "n"), ((0, 2, -1), "nw"), ((0, 1, 2, 3), "nhw")]
)
@pytest.mark.parametrize("symmetric", [False, True])
def test_of_a_batch(axis, over, symmetric):
    x2 = None if symmetric else X2
    plain = CONV.kernel_fn(X1, x2)
    kernel = jax.jit(stax.serial(CONV, stax.LayerNorm(axis)).kernel_fn)(X1, x2)

    def inverse(cov):
        var = np.einsum("nhhww->nhw", cov)
        axes = tuple("nhw".index(name) for name in over)
        return np.broadcast_to(np.mean(var, axes, keepdims=True), var.shape)[0] ** -0.5

    one = inverse(plain.cov1)
    two = one if symmetric else inverse(plain.cov2)
    factor = np.einsum("hw,HW->hHwW", one, two)
    np.testing.assert_allclose(kernel.nngp, factor * np.asarray(plain.nngp), rtol=1e-10)
    np.testing.assert_allclose(kernel.ntk, factor * np.asarray(plain.ntk), rtol=1e-10)
    own = np.einsum("hw,HW->hHwW", one, one)
    np.testing.assert_allclose(kernel.cov1, own * np.asarray(plain.cov1), rtol=1e-10)
    assert (kernel.cov2 is None) == symmetric
    np.testing.assert_allclose(kernel.distance, plain.distance, atol=1e-9)


def test_what_follows_is_that_of_a_finite_network():
    width = 2**14
    layers = stax.Dense(width, 1.2, 0.5), stax.LayerNorm((0, -1)), stax.Relu()
    network = stax.serial(*layers)
    x = np.abs(X1[:, 0, 0]) * np.array([[1], [2], [3], [4]])
    _, params = network.init_fn(jax.random.key(0), x.shape)
    z = np.asarray(network.apply_fn(params, x))
    exact = network.kernel_fn(x, None, "nngp")
    np.testing.assert_allclose(z @ z.T / width, exact, atol=0.03)
