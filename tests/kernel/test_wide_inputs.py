"""Inputs of many channels: products of matrices, with differences where a pair is near."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from ntkjax._kernel.operations import distances
from ntkjax.stax import Conv, Dense, Flatten, Relu, serial

RNG = np.random.default_rng(0)
#: Shapes of two batches, channels in front: whole and broken blocks, with positions and without.
SHAPES = (((70, 150), (70, 70)), ((100, 2, 3, 5), (100, 2, 3, 70)), ((64, 128), (64, 130)))


def batches(shape1, shape2, dtype=np.float64):
    """Two batches, some of whose pairs are near, equal or in blocks of their own."""
    x, y = RNG.normal(size=shape1), RNG.normal(size=shape2)
    count = min(3, shape1[-1])
    y[..., :count] = x[..., :count] * (1 + 1e-4)
    y[..., -1] = x[..., -1]
    return x.astype(dtype), y.astype(dtype)


def plain(x, y):
    """The mean of squared differences."""
    return jnp.mean(jnp.square(x[..., :, None] - y[..., None, :]), 0)


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_distances_are_those_of_differences(shapes):
    x, y = batches(*shapes)
    made = jax.jit(distances.mean_squared_distances)(x, y)
    np.testing.assert_allclose(made, plain(x, y), rtol=1e-12, atol=0)
    stacked = np.stack([y, 2 * y])
    of_each = jax.jit(jax.vmap(distances.mean_squared_distances, (None, 0)))(x, stacked)
    np.testing.assert_allclose(of_each[1], plain(x, 2 * y), rtol=1e-12, atol=0)
    wanted = np.mean(x[..., :, None] * y[..., None, :], 0)
    np.testing.assert_allclose(distances.mean_products(x, y), wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_float32_keeps_the_digits_of_small_distances(shapes):
    x, y = batches(*shapes, np.float32)
    made = jax.jit(distances.mean_squared_distances)(x, y)
    wanted = plain(x.astype(np.float64), y.astype(np.float64))
    # Of far pairs, the rounding errors of v1 + v2, which is at most 32 times as large.
    np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=0)
    near = wanted < 1e-3
    assert np.any(near)
    np.testing.assert_allclose(made[near], wanted[near], rtol=1e-6, atol=0)


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_derivatives_are_those_of_differences(shapes):
    """First and second ones, forwards and backwards."""
    x, y = batches(*shapes)
    weights = RNG.normal(size=plain(x, y).shape)

    def derivatives(distances_of):
        def total(x, y):
            # Steep where pairs are near, as the angle is.
            return jnp.sum(weights * jnp.sqrt(distances_of(x, y) + 1e-6))

        gradients = jax.grad(total, (0, 1))(x, y)
        forwards = jax.jvp(distances_of, (x, y), (y[..., :1] * x, y))[1]
        second = jax.jvp(jax.grad(total), (x, y), (x, y))[1]
        return gradients, forwards, second

    made = jax.jit(lambda: derivatives(distances.mean_squared_distances))()
    wanted = jax.jit(lambda: derivatives(plain))()
    for one, other in zip(jax.tree.leaves(made), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.max(np.abs(other)))


@pytest.mark.parametrize("count", [30, 70])
def test_derivatives_of_one_batch_alone_and_of_a_batch_with_itself(count):
    """Where one batch is constant, and where pairs are known to be of one array with itself."""
    x, y = batches((80, count), (80, count))
    y[:, :5] = x[:, 5:10] * (1 + 1e-4)
    both = np.concatenate([x, y], 1)
    same = np.eye(2 * count, dtype=bool)
    weights = RNG.normal(size=same.shape)

    def of_others(distances_of, x, y):
        return jnp.sum(weights * jnp.where(same, 0.0, jnp.sqrt(distances_of(x, y) + 1e-6)))

    def derivatives(distances_of):
        one = [jax.grad(of_others, k)(distances_of, both, both) for k in (1, 2)]
        itself = jax.grad(lambda x: of_others(distances_of, x, x))(both)
        forwards = jax.jvp(lambda y: distances_of(both, y), (both,), (both[:, ::-1],))[1]
        return one, itself, jnp.where(same, 0.0, forwards)

    known = lambda x, y: distances.mean_squared_distances(x, y, same)  # noqa: E731
    made, wanted = (jax.jit(lambda of=of: derivatives(of))() for of in (known, plain))
    for one, other in zip(jax.tree.leaves(made), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.max(np.abs(other)))
    np.testing.assert_array_equal(np.diag(jax.jit(known)(both, both)), 0)


def near_and_opposite(shape):
    """Images, neighbours at relative distances down to 1e-4, and nearly opposite ones."""
    x = RNG.normal(size=shape)
    step = RNG.normal(size=shape)
    return np.concatenate([x, x + 1e-4 * step, x + 0.1 * step, -x + 1e-3 * step]).astype(np.float32)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([Dense(1, 2**0.5, 0.1), Relu()] * 20, (20, 300)),
        ([Conv(1, (3,), padding="SAME", W_std=2**0.5), Relu()] * 3 + [Flatten()], (4, 6, 80)),
    ],
    ids=["dense", "convolutions"],
)
def test_kernels_in_float32_are_those_of_float64(layers, shape):
    network = serial(*layers, Dense(1))
    x = near_and_opposite(shape)
    found = network.kernel_fn(x, None, ("nngp", "ntk"))
    exact = network.kernel_fn(x.astype(np.float64), None, ("nngp", "ntk"))
    for one, other in zip(found, exact, strict=True):
        size = np.sqrt(np.outer(np.diag(other), np.diag(other)))
        assert np.max(np.abs(np.asarray(one, float) - other) / size) < 2e-6


def test_a_batch_with_itself_is_symmetric():
    x = near_and_opposite((40, 100))
    kernel = serial(Dense(1), Relu(), Dense(1)).kernel_fn(x, None, "ntk")
    np.testing.assert_array_equal(kernel, kernel.T)


def test_few_channels_take_differences():
    few = RNG.normal(size=(3, 5)), RNG.normal(size=(3, 4))
    text = jax.jit(distances.mean_squared_distances).lower(*few).as_text()
    assert "dot_general" not in text


@pytest.mark.parametrize("batch_axis", [0, 1])
def test_flatten_of_images_is_one_product(batch_axis):
    """The positions of images are channels from the start, wherever the batch axis is."""
    x, y = RNG.normal(size=(6, 4, 5, 4)), RNG.normal(size=(5, 4, 5, 4))
    y[0] = x[0] * (1 + 1e-5)
    flat = serial(Dense(1, 1.3, 0.2), Relu(), Dense(1))
    images = serial(Flatten(batch_axis=batch_axis), *[Dense(1, 1.3, 0.2), Relu(), Dense(1)])
    made = images.kernel_fn(*(np.moveaxis(a, 0, batch_axis) for a in (x, y)))
    wanted = flat.kernel_fn(x.reshape(6, -1), y.reshape(5, -1))
    for name in ("nngp", "ntk", "cov1", "cov2"):
        np.testing.assert_allclose(getattr(made, name), getattr(wanted, name), rtol=1e-12)
    after = serial(Flatten(), Dense(1)).kernel_fn(x, y, intermediates=True)
    np.testing.assert_allclose(after[0].nngp, np.mean(x[:, None] * y, (2, 3, 4)), rtol=1e-12)
    both = stax.serial(
        stax.FanOut(2),
        stax.parallel(serial(Flatten(), Dense(1)), serial(Conv(1, (4, 5)), Flatten(), Dense(1))),
        stax.FanInSum(),
    )
    apart = [serial(Flatten(), Dense(1)), serial(Conv(1, (4, 5)), Flatten(), Dense(1))]
    wanted = sum(one.kernel_fn(x, y, "ntk") for one in apart)
    np.testing.assert_allclose(both.kernel_fn(x, y, "ntk"), wanted, rtol=1e-12)


def test_a_gradient_by_one_batch_does_not_pass_the_other():
    """What would change a constant batch, of 5 images of 70 numbers, is a product of that shape."""
    kernel_fn = serial(Dense(1), Relu(), Dense(1), Relu(), Dense(1)).kernel_fn
    x, y = RNG.normal(size=(5, 70)), RNG.normal(size=(3, 70))

    def products(which):
        gradient = jax.grad(lambda *both: jnp.sum(kernel_fn(*both, "ntk")), which)
        lines = jax.jit(gradient).lower(x, y).as_text().splitlines()
        return [line for line in lines if "dot_general" in line and "-> tensor<5x70xf64>" in line]

    assert products((0, 1))
    assert not products(1)
