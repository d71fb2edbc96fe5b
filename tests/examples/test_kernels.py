"""The classical kernels against their definitions, and those of networks against the layers."""

import math

import numpy as np
import pytest

import kernels
from ntkjax import stax

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 5))
IMAGES = RNG.normal(size=(7, 4, 3, 2)).astype(np.float32)
TRAIN, TEST = np.array([0, 2, 3, 7, 8]), np.array([1, 5])


def silent(total, label):
    return lambda: None


def setting(method, name):
    return next(c.kernel for c in method.candidates if c.setting == name)


def test_standardized_looks_at_one_image_alone():
    images = RNG.uniform(size=(4, 5, 5, 2))
    images[3] = 0.7  # constant: nothing to divide by
    out = kernels.standardized(images)
    np.testing.assert_allclose(out[:3].mean((1, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(out[:3].std((1, 2, 3)), 1)
    np.testing.assert_allclose(out[3], 0, atol=1e-9)
    np.testing.assert_allclose(kernels.standardized(images[1:2]), out[1:2])


def test_gaussian_takes_its_bandwidth_from_the_training_points():
    distances = [math.dist(X[i], X[j]) for i in TRAIN for j in TRAIN if i < j]
    bandwidth = 0.5 * np.median(distances)
    expected = [
        [math.exp(-(math.dist(X[i], X[j]) ** 2) / (2 * bandwidth**2)) for j in TRAIN] for i in TEST
    ]
    kernel = setting(kernels.gaussian(X), "bandwidth 0.5 x median")
    np.testing.assert_allclose(kernel(TEST, TRAIN), expected, rtol=1e-9)


def test_polynomial_takes_its_scale_from_the_training_points():
    mean = np.mean([X[i] @ X[i] for i in TRAIN])
    expected = [[(1 + X[i] @ X[j] / mean) ** 3 for j in TRAIN] for i in TEST]
    kernel = setting(kernels.polynomial(X), "degree 3")
    np.testing.assert_allclose(kernel(TEST, TRAIN), expected, rtol=1e-9)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_arc_cosine_is_its_integral(order):
    # Cho and Saul 2009, equation (1), in the plane of the two points: the radius integrates to
    # E[r^(2 order)], the angle by the midpoint rule.
    x = np.array([[1.0, 0.0], [0.6, 1.1]])
    angles = (np.arange(200_000) + 0.5) * 2 * np.pi / 200_000
    w = np.stack([np.cos(angles), np.sin(angles)])
    features = [np.where(p @ w > 0, (p @ w) ** order, 0.0) for p in x]
    radius = {0: 1, 1: 2, 2: 8}[order]
    expected = 2 * radius * np.mean(features[0] * features[1])
    np.testing.assert_allclose(kernels.arc_cosines(x, order, 1)[0, 1], expected, rtol=1e-4)


def test_arc_cosine_of_order_one_is_the_nngp():
    _, _, kernel_fn = stax.serial(
        stax.Dense(1), stax.Relu(), stax.Dense(1, W_std=math.sqrt(2)), stax.Relu(), stax.Dense(1)
    )
    # Order one has E relu relu without the factor c_sigma = 2: twice the integral, each layer.
    expected = 5 * 2 * np.asarray(kernel_fn(X, None, "nngp"))
    np.testing.assert_allclose(kernels.arc_cosines(X, 1, 2), expected, rtol=1e-10, atol=1e-12)


def test_one_pass_gives_the_kernels_of_all_depths():
    flattened, pooled = kernels.convolutional(IMAGES, 2, silent)
    every = np.arange(len(IMAGES))
    for depth in (1, 2):
        layers = [layer for _ in range(depth) for layer in (kernels.conv(), stax.Relu())]
        for method, head in [
            (flattened, kernels.flatten_readout()),
            (pooled, kernels.pooled_readout()),
        ]:
            _, _, kernel_fn = stax.serial(*layers, head)
            expected = kernel_fn(IMAGES, None, "ntk")
            actual = setting(method, f"depth {depth}")(every, every)
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_fully_connected_methods_are_the_layers():
    ntk, nngp = kernels.fully_connected(X, 2, silent)
    _, _, kernel_fn = kernels.fully_connected_network(2)
    both = kernel_fn(X, None, ("ntk", "nngp"))
    every = np.arange(len(X))
    np.testing.assert_allclose(setting(ntk, "depth 2")(every, every), both.ntk, rtol=1e-10)
    np.testing.assert_allclose(setting(nngp, "depth 2")(every, every), both.nngp, rtol=1e-10)


@pytest.mark.parametrize("tile", [1, 3, 4, 12, 50])
def test_tiles_make_the_whole_matrix(tile):
    (matrix,) = kernels.all_pairs(lambda a, b: [a @ b.T], X, tile, silent, "")
    np.testing.assert_allclose(matrix, X @ X.T)
