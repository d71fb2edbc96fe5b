"""The loops themselves: their one closed form against an integral, and cases known by hand."""

import math

import numpy as np
import pytest

from tests.paper.reference_loops import cntk_gap, ntk_relu, relu_expectations


@pytest.mark.parametrize(
    ("var1", "cov", "var2"), [(1.0, 0.3, 2.0), (0.5, -0.6, 1.5), (2.0, 1.9, 2.0), (1.0, 0.0, 1.0)]
)
def test_expectations_are_the_gaussian_integrals(var1, cov, var2):
    # Polar coordinates: the radial integral is a Gauss-Laguerre sum, exact for the square of the
    # radius; the angular integrand has kinks only, so a fine midpoint rule does.
    angles = (np.arange(400_000) + 0.5) * 2 * np.pi / 400_000
    root = np.linalg.cholesky(np.array([[var1, cov], [cov, var2]]))
    u, v = root @ np.stack([np.cos(angles), np.sin(angles)])
    mean_squared_radius = 2.0
    product = mean_squared_radius * np.mean(np.maximum(u, 0) * np.maximum(v, 0))
    derivative = np.mean((u > 0) & (v > 0))
    np.testing.assert_allclose(relu_expectations(var1, cov, var2), (product, derivative), rtol=1e-5)


def test_one_hidden_layer_by_hand():
    x = np.array([[1.0, 0.0]])
    y = np.array([[0.0, 2.0], [3.0, 0.0], [-1.0, 0.0]])
    theta, sigma = ntk_relu(x, y, depth=1)
    # Orthogonal: Sigma = |x||y| / pi, and Theta^(0) = 0. Parallel: Sigma = x.y, Theta = 2 x.y.
    np.testing.assert_allclose(sigma, [[2 / math.pi, 3.0, 0.0]], atol=1e-15)
    np.testing.assert_allclose(theta, [[2 / math.pi, 6.0, 0.0]], atol=1e-15)


def test_one_pixel_with_filter_size_one_is_the_fully_connected_network():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5)), rng.normal(size=(3, 5))
    for depth in (1, 2, 3):
        np.testing.assert_allclose(
            cntk_gap(x[:, None, None], y[:, None, None], depth, filter_size=1),
            ntk_relu(x, y, depth),
            rtol=1e-12,
        )


def test_pooling_counts_all_pairs_of_positions():
    # With filters of one pixel the kernel of an image is the mean over pairs of its pixels.
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(1, 2, 3, 4)), rng.normal(size=(1, 2, 3, 4))
    of_pixels = ntk_relu(x.reshape(6, 4), y.reshape(6, 4), depth=2)
    of_images = cntk_gap(x, y, depth=2, filter_size=1)
    for pixels, images in zip(of_pixels, of_images, strict=True):
        np.testing.assert_allclose(images, [[pixels.mean()]], rtol=1e-12)
