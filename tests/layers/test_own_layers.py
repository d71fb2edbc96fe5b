"""Layers of one's own: maps of positions and of kernels, and the decorators of neural-tangents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax.stax import (
    Conv,
    Dense,
    GlobalAvgPool,
    KernelMap,
    LayerNorm,
    PositionMap,
    Relu,
    layer,
    requires,
    serial,
    supports_masking,
)
from tests.helpers import fast_jit

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(3, 4, 4, 2)), RNG.normal(size=(2, 4, 4, 2))
BELOW = serial(Conv(1, (3, 1), padding="SAME", W_std=1.3, b_std=0.1), Relu())
FIELDS = ("nngp", "ntk", "cov1", "cov2")


def rotations(x):
    """The mean over the four rotations of an image."""
    return 0.25 * sum(jnp.rot90(x, k, (1, 2)) for k in range(4))


def test_map_of_positions_acts_on_both_sides():
    kernel_fn = serial(BELOW, PositionMap(rotations)).kernel_fn
    below, kernel = fast_jit(lambda a, b: (BELOW.kernel_fn(a, b), kernel_fn(a, b)))(X1, X2)
    turned = []
    for name in ("nngp", "ntk"):
        first = np.moveaxis(getattr(below, name), (2, 4, 3, 5), (2, 3, 4, 5))  # h, w, h', w'
        mean = 0.25 * sum(np.rot90(first, k, (2, 3)) for k in range(4))
        mean = 0.25 * sum(np.rot90(mean, k, (4, 5)) for k in range(4))
        turned.append(np.moveaxis(mean, (2, 3, 4, 5), (2, 4, 3, 5)))
    np.testing.assert_allclose(kernel.nngp, turned[0], atol=1e-12)
    np.testing.assert_allclose(kernel.ntk, turned[1], atol=1e-12)


def test_turned_images_are_the_same_image():
    network = serial(PositionMap(rotations), Conv(1, (1, 1)), Relu(), GlobalAvgPool(), Dense(1))
    one, turned = (
        fast_jit(lambda a, b: network.kernel_fn(a, b, "ntk"))(X1, x)
        for x in (X1, np.rot90(X1, 1, (1, 2)))
    )
    np.testing.assert_allclose(one, turned, rtol=1e-8)


def test_positions_may_change():
    pooled = PositionMap(lambda x: jnp.mean(x, 2))
    network = serial(Dense(1, 1.3), pooled)
    made, _ = network.init_fn(jax.random.key(0), X1.shape)
    kernel = network.kernel_fn(X1, X2)
    assert made == kernel.shape1 == (3, 4, 1)
    assert kernel.nngp.shape == (3, 2, 4, 4)


def normalized(x):
    return x / jnp.sqrt(jnp.mean(jnp.square(x), axis=(1, 2, 3), keepdims=True))


def normalized_kernel(k, k11, k22):
    """K over the root of the mean variances of either image."""
    one, two = (jnp.einsum("hhww->", own) / 16 for own in (k11, k22))
    return k / jnp.sqrt(one * two)


def test_map_of_kernels_is_the_layer_that_it_stands_for():
    conv = Conv(1, (3, 1), padding="SAME", W_std=1.3, b_std=0.1)
    own = serial(conv, KernelMap(normalized, normalized_kernel, is_gaussian=True), Relu())
    ours = serial(conv, LayerNorm((1, 2, 3)), Relu())
    made = fast_jit(lambda a, b: [n.kernel_fn(a, b) for n in (own, ours)])(X1, X2)
    for name in FIELDS:
        np.testing.assert_allclose(*(getattr(k, name) for k in made), atol=1e-10, err_msg=name)


def test_gradients_pass_through_a_map_of_kernels():
    network = serial(Dense(1), KernelMap(normalized, normalized_kernel, is_gaussian=True))
    value = lambda x: jnp.sum(jnp.sin(network.kernel_fn(x, X2, "nngp")))  # noqa: E731
    gradient = fast_jit(jax.grad(value))(X1)
    step = 1e-5 * RNG.normal(size=X1.shape)
    secant = value(X1 + step) - value(X1 - step)
    np.testing.assert_allclose(2 * jnp.sum(gradient * step), secant, rtol=1e-5)


def test_decorators_of_the_old_way():
    @layer
    @supports_masking(remask_kernel=True)
    def Scaled(factor, channel_axis=-1):
        @requires(batch_axis=0, channel_axis=channel_axis, diagonal_spatial=True)
        def kernel_fn(k, **kwargs):
            return k * factor

        init_fn = lambda rng, shape: (shape, ())  # noqa: E731
        return init_fn, lambda params, x, **kwargs: factor * x, kernel_fn, lambda mask, shape: mask

    network = serial(Dense(1, 1.2), Scaled(3.0), Relu())
    wanted = serial(Dense(1, 3.6), Relu()).kernel_fn(X1, X2)
    kernel = network.kernel_fn(X1, X2)
    np.testing.assert_allclose(kernel.nngp, wanted.nngp, atol=1e-12)
    np.testing.assert_allclose(kernel.ntk, wanted.ntk, atol=1e-7)
    assert repr(Scaled(3.0)) == "Scaled()"
    with pytest.raises(ValueError, match=r"Scaled at layer 1: takes .*channel_axis=1"):
        serial(Dense(1), Scaled(2.0, channel_axis=1)).kernel_fn(X1)
    Nothing = layer(lambda: None)
    with pytest.raises(TypeError, match="returned None, expected a triple"):
        Nothing()
    with pytest.raises(TypeError, match=r"unknown \['batch'\]"):
        requires(batch=0)


def test_arithmetic_of_kernels():
    kernel = Dense(1).kernel_fn(X1[:, 0, 0], X2[:, 0, 0])
    np.testing.assert_allclose((2 * kernel).nngp, 4 * kernel.nngp)
    np.testing.assert_allclose((kernel / 2).distance, kernel.distance)
    added = kernel + 3.0
    np.testing.assert_allclose(added.cov1, kernel.cov1 + 9)
    np.testing.assert_allclose(added.ntk, kernel.ntk)
    np.testing.assert_allclose((-kernel).nngp, kernel.nngp)


ERRORS = [
    (lambda: PositionMap(jnp.square), "is no linear map"),
    (lambda: PositionMap(lambda x: jnp.cumsum(x, -1)), "treats channels alike"),
    (lambda: PositionMap(lambda x: x[:, :, :, :1]), "other numbers of examples or channels"),
    (lambda: PositionMap(lambda x: jnp.sum(x)), "lacks batch_axis=0"),
    (lambda: PositionMap(3), "expected a function"),
    (lambda: KernelMap(lambda x: x, 3), "expected a function of three"),
    (lambda: KernelMap(lambda x: x[:, 1:], lambda k, a, b: k), "return one entry for each pair"),
]


@pytest.mark.parametrize(("make", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_what_is_no_such_function_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make().kernel_fn(X1)
