"""Layers of finite networks alone, and BatchNorm with given statistics and without."""

import jax
import numpy as np
import pytest

from ntkjax.stax import BatchNorm, Conv, Dense, MaxPool, Relu, Softmax, serial

X = np.random.default_rng(0).normal(size=(4, 3))
IMAGES = np.random.default_rng(1).normal(size=(2, 5, 4, 3))
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("layer", "what"),
    [
        (MaxPool((2, 2)), "MaxPool at layer 1: the maximum over a window"),
        (Softmax(), "Softmax at layer 1: a softmax has no kernel"),
        (BatchNorm(), "BatchNorm at layer 1: statistics of the batch"),
    ],
    ids=["MaxPool", "Softmax", "BatchNorm"],
)
def test_kernels_that_do_not_exist_say_so(layer, what):
    network = serial(Conv(2, (2, 2)), layer, Dense(1))
    for call in (network.kernel_fn, lambda x: network.kernel_fn.plan(x.shape)):
        with pytest.raises(ValueError, match=what) as caught:
            call(IMAGES)
        assert "Monte Carlo" in str(caught.value)
        assert "monte_carlo_kernel_fn" in str(caught.value)
    shape, params = network.init_fn(KEY, IMAGES.shape)
    assert network.apply_fn(params, IMAGES).shape == shape


@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR"])
def test_max_pool_is_a_loop(padding):
    init_fn, apply_fn, _ = MaxPool((2, 3), (2, 1), padding)
    shape, _ = init_fn(KEY, IMAGES.shape)
    low = {"SAME": (0, 1), "VALID": (0, 0), "CIRCULAR": (0, 1)}[padding]
    wanted = np.full(shape, -np.inf)
    for output in np.ndindex(*shape[1:3]):
        for tap in np.ndindex(2, 3):
            place = [s * o + t - b for s, o, t, b in zip((2, 1), output, tap, low, strict=True)]
            if padding == "CIRCULAR":
                place = [p % n for p, n in zip(place, (5, 4), strict=True)]
            if all(0 <= p < n for p, n in zip(place, (5, 4), strict=True)):
                seen = IMAGES[:, place[0], place[1]]
                wanted[:, output[0], output[1]] = np.maximum(wanted[:, output[0], output[1]], seen)
    np.testing.assert_array_equal(apply_fn((), IMAGES), wanted)


def test_softmax_sums_to_one():
    np.testing.assert_allclose(np.sum(Softmax(1).apply_fn((), IMAGES), 1), np.ones((2, 4, 3)))
    with pytest.raises(ValueError, match="axis=4 is no axis"):
        Softmax(4).init_fn(KEY, IMAGES.shape)


def test_batch_norm_of_a_finite_network():
    _, apply_fn, _ = BatchNorm(eps=0.0)
    normal = np.asarray(apply_fn((), IMAGES))
    np.testing.assert_allclose(normal.mean((0, 1, 2)), np.zeros(3), atol=1e-12)
    np.testing.assert_allclose(normal.std((0, 1, 2)), np.ones(3), rtol=1e-12)
    mean, variance = np.array([1.0, 0.0, -2.0]), np.array([0.5, 1.0, 4.0])
    given = BatchNorm(mean, variance, eps=0.1, channel_axis=1)
    moved = np.moveaxis(IMAGES, -1, 1)
    wanted = (IMAGES - mean) / np.sqrt(variance + 0.1)
    np.testing.assert_allclose(given.apply_fn((), moved), np.moveaxis(wanted, -1, 1), rtol=1e-12)


@pytest.mark.parametrize("statistics", [(0, 3.0), ([0, 0, 0], [3.0, 3.0, 3.0])])
def test_equal_statistics_without_means_keep_gaussians(statistics):
    network = serial(Dense(3, 2.0, 0.5), BatchNorm(*statistics, eps=1.0), Relu())
    plain = serial(Dense(3, 1.0, 0.25), Relu()).kernel_fn(X)
    kernel = network.kernel_fn(X)
    np.testing.assert_allclose(kernel.nngp, plain.nngp, rtol=1e-12)
    np.testing.assert_allclose(kernel.ntk, plain.ntk, rtol=1e-12)


def test_statistics_may_be_traced():
    def entry(mean, variance):
        return serial(Dense(2), BatchNorm(mean, variance, 0.0)).kernel_fn(X, None, "nngp")[0, 0]

    value, (by_mean, by_variance) = jax.value_and_grad(entry, (0, 1))(0.5, 2.0)
    plain = float(Dense(2).kernel_fn(X, None, "nngp")[0, 0])
    np.testing.assert_allclose(value, (plain + 0.25) / 2)
    np.testing.assert_allclose([by_mean, by_variance], [0.5, -(plain + 0.25) / 4])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0,), "variance is missing; give both"),
        ((0.0, -1.0), "a variance is negative"),
        ((0.0, 0.0, 0.0), "give a positive eps"),
        ((0.0, 1.0, -1.0), "eps=-1"),
        (([0.0, 1.0], [1.0]), "of 2 and 1 channels"),
        ((0.0, np.ones((2, 2))), r"has shape \(2, 2\), expected a number or a vector"),
    ],
)
def test_statistics_that_are_none(arguments, message):
    with pytest.raises(ValueError, match=f"BatchNorm: .*{message}"):
        BatchNorm(*arguments)


def test_statistics_of_other_channels():
    layer = BatchNorm([0.0, 1.0], [1.0, 2.0])
    for call in (lambda: layer.apply_fn((), X), lambda: serial(Dense(3), layer).kernel_fn(X)):
        with pytest.raises(ValueError, match=r"statistics of 2 channels, but its input of shape"):
            call()
    with pytest.raises(ValueError, match=r"not distributed alike.*standardize the inputs"):
        BatchNorm([0.0, 0.0], [1.0, 2.0]).kernel_fn(X[:, :2])
