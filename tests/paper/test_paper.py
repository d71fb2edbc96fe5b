"""compute_ntk_relu and compute_cntk against the loops, against the layers, and on bad input."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax
from ntkjax import compute_cntk, compute_ntk_relu, stax
from tests.paper.reference_loops import cntk_gap, ntk_relu

# Relative to the largest entry of the kernel: rounding of the recursion, with a margin of ten.
TOLERANCE = {np.float64: 1e-12, np.float32: 5e-6}
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])


# Where two points are equal or opposite the angle has a square root singularity: rounding of the
# cosine by eps moves E[relu' relu'] by sqrt(2 eps) / (2 pi), in the loops as in the layers.
TOLERANCE_AT_CORNERS = {np.float64: 1e-8, np.float32: 1e-4}


def assert_kernels_close(actual, expected, dtype, tolerance=TOLERANCE):
    for ours, loops in zip(actual, expected, strict=True):
        assert ours.dtype == dtype
        assert ours.shape == loops.shape
        np.testing.assert_allclose(ours, loops, rtol=0, atol=tolerance[dtype] * abs(loops).max())


def vectors(dtype, n1=4, n2=3, d=7):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n1, d)).astype(dtype), rng.normal(size=(n2, d)).astype(dtype)


def pictures(dtype, shape, n1=3, n2=2):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n1, *shape)).astype(dtype), rng.normal(size=(n2, *shape)).astype(dtype)


def with_corners(x1, x2):
    """Pairs that are equal and opposite, and inputs that are zero."""
    x1, x2 = x1.copy(), x2.copy()
    x2[0], x2[1], x1[-1] = x1[0], -x1[1], 0.0
    return x1, x2


@DTYPES
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_ntk_relu_is_the_loop(depth, dtype):
    x1, x2 = vectors(dtype)
    expected = ntk_relu(x1.astype(np.float64), x2.astype(np.float64), depth)
    assert_kernels_close(compute_ntk_relu(x1, x2, depth), expected, dtype)


@pytest.mark.parametrize(
    ("shape", "depth", "filter_size", "dtype"),
    [
        ((5, 5, 3), 1, 3, np.float64),
        ((3, 5, 2), 3, 3, np.float64),  # not square
        ((3, 5, 2), 3, 3, np.float32),
        ((4, 3, 2), 2, 5, np.float64),  # the filter reaches over the whole image
        ((1, 1, 4), 2, 1, np.float64),  # one position
    ],
)
def test_cntk_is_the_loop(shape, depth, filter_size, dtype):
    images1, images2 = pictures(dtype, shape)
    expected = cntk_gap(images1.astype(np.float64), images2.astype(np.float64), depth, filter_size)
    assert_kernels_close(compute_cntk(images1, images2, depth, filter_size), expected, dtype)


@DTYPES
def test_equal_opposite_and_zero_inputs(dtype):
    x1, x2 = with_corners(*vectors(dtype))
    expected = ntk_relu(x1.astype(np.float64), x2.astype(np.float64), 3)
    actual = compute_ntk_relu(x1, x2, 3)
    assert_kernels_close(actual, expected, dtype, TOLERANCE_AT_CORNERS)
    # By hand: every layer keeps |x|^2, and each of the four weight layers adds it once.
    np.testing.assert_allclose(actual.Theta[0, 0], 4 * np.sum(x1[0] ** 2), rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(actual.Theta[-1], 0, atol=TOLERANCE[dtype])

    images1, images2 = with_corners(*pictures(dtype, (4, 5, 2)))
    images2[1, :2, :2] = 0.0  # windows that see nothing
    expected = cntk_gap(images1.astype(np.float64), images2.astype(np.float64), 2, 3)
    actual = compute_cntk(images1, images2, 2)
    assert_kernels_close(actual, expected, dtype, TOLERANCE_AT_CORNERS)


def test_filter_size_defaults_to_three():
    images1, images2 = pictures(np.float64, (2, 2, 1))
    np.testing.assert_array_equal(
        compute_cntk(images1, images2, 1).Theta, compute_cntk(images1, images2, 1, 3).Theta
    )


def test_none_stands_for_the_first_inputs():
    x, _ = vectors(np.float64)
    images, _ = pictures(np.float64, (4, 3, 2))
    # Other code runs for one set of inputs than for two, hence not equal to the last bit.
    for one, two in [
        (compute_ntk_relu(x, None, 3), compute_ntk_relu(x, x, 3)),
        (compute_cntk(images, None, 2), compute_cntk(images, images, 2)),
    ]:
        for ours, other in zip(one, two, strict=True):
            np.testing.assert_allclose(ours, other, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(ours, ours.T, rtol=1e-12, atol=1e-14)


def test_the_result_unpacks_and_has_names():
    x1, x2 = vectors(np.float64)
    result = compute_ntk_relu(x1, x2, 1)
    Theta, Sigma = result
    assert Theta is result.Theta
    assert Sigma is result.Sigma


def test_ntk_relu_is_the_input_dimension_times_the_layers():
    x1, x2 = vectors(np.float64)
    root2 = math.sqrt(2)
    _, _, kernel_fn = stax.serial(
        stax.Dense(1, W_std=1), stax.Relu(), stax.Dense(1, W_std=root2), stax.Relu(),
        stax.Dense(1, W_std=root2),
    )  # fmt: skip
    layers = kernel_fn(x1, x2, ("ntk", "nngp"))
    Theta, Sigma = compute_ntk_relu(x1, x2, depth=2)
    np.testing.assert_allclose(Theta, 7 * layers.ntk, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(Sigma, 7 * layers.nngp, rtol=1e-12, atol=1e-14)


def test_cntk_is_the_number_of_channels_times_the_layers():
    images1, images2 = pictures(np.float64, (4, 5, 3))
    root2 = math.sqrt(2)
    _, _, kernel_fn = stax.serial(
        stax.Conv(1, (3, 3), padding="SAME", W_std=1), stax.Relu(),
        stax.Conv(1, (3, 3), padding="SAME", W_std=root2), stax.Relu(),
        stax.GlobalAvgPool(), stax.Dense(1, W_std=root2),
    )  # fmt: skip
    layers = kernel_fn(images1, images2, ("ntk", "nngp"))
    Theta, Sigma = compute_cntk(images1, images2, depth=2)
    np.testing.assert_allclose(Theta, 3 * layers.ntk, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(Sigma, 3 * layers.nngp, rtol=1e-12, atol=1e-14)


def test_homogeneous_of_degree_one_in_each_input():
    images1, images2 = pictures(np.float64, (3, 4, 2))
    once = compute_cntk(images1, images2, 2)
    scaled = compute_cntk(3 * images1, 5 * images2, 2)
    np.testing.assert_allclose(scaled.Theta, 15 * once.Theta, rtol=1e-12, atol=1e-13)


def test_gradients_are_finite_at_equal_opposite_and_zero_inputs():
    x1, x2 = with_corners(*vectors(np.float64))
    images1, images2 = with_corners(*pictures(np.float64, (3, 4, 2)))

    def total(kernel, a, b):
        return sum(k.sum() for k in kernel(a, b, 2))

    for kernel, a, b in [(compute_ntk_relu, x1, x2), (compute_cntk, images1, images2)]:
        gradients = jax.grad(total, argnums=(1, 2))(kernel, jnp.asarray(a), jnp.asarray(b))
        for gradient in gradients:
            assert np.isfinite(gradient).all()


def test_works_under_jit():
    x1, x2 = vectors(np.float64)
    jitted = jax.jit(compute_ntk_relu, static_argnames="depth")(x1, x2, depth=2)
    np.testing.assert_allclose(jitted.Theta, compute_ntk_relu(x1, x2, 2).Theta, rtol=1e-12)


def test_integers_are_converted():
    x = np.array([[1, 0], [0, 2]])
    np.testing.assert_allclose(compute_ntk_relu(x, None, 1).Sigma, [[1, 2 / np.pi], [2 / np.pi, 4]])
    pixels = np.full((1, 3, 3, 1), 255, np.uint8)
    np.testing.assert_allclose(
        compute_cntk(pixels, None, 1).Theta, 255**2 * compute_cntk(pixels / 255, None, 1).Theta
    )


def nan_at(shape, index):
    array = np.zeros(shape)
    array[index] = np.nan
    return array


X, IMAGES = np.ones((2, 3)), np.ones((2, 4, 5, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: compute_ntk_relu(X, None, 0), ValueError, "depth must be at least 1, got 0"),
        (lambda: compute_ntk_relu(X, None, True), ValueError, "depth must be at least 1"),
        (lambda: compute_ntk_relu(X, None, 2.0), TypeError, "depth must be an int, got 2.0"),
        (lambda: compute_ntk_relu(X[0], None, 1), ValueError, r"x1\[None, :\]"),
        (lambda: compute_ntk_relu(IMAGES, None, 1), ValueError, r"x1\.reshape\(len\(x1\), -1\)"),
        (lambda: compute_ntk_relu(X, X[:, :2], 1), ValueError, "agree in d, got 3 and 2"),
        (lambda: compute_ntk_relu(X, X[:0], 1), ValueError, "x2 of shape .* is empty along n"),
        (
            lambda: compute_ntk_relu(1j * X, None, 1),
            TypeError,
            "x1 has dtype complex128, expected real",
        ),
        (lambda: compute_ntk_relu([["a"]], None, 1), TypeError, "x1 has dtype <U1, expected real"),
        (
            lambda: compute_ntk_relu(nan_at((3, 2), 1), None, 1),
            ValueError,
            r"x1 must be finite, got 2 .* first at \(1, 0\)",
        ),
        (lambda: compute_ntk_relu(X, np.inf * X, 1), ValueError, r"x2 must be finite, got 6"),
        (lambda: compute_cntk(IMAGES, None, 0), ValueError, "depth must be at least 1"),
        (lambda: compute_cntk(IMAGES, None, 1, 4), ValueError, "filter_size=4 is even"),
        (lambda: compute_cntk(IMAGES, None, 1, 0), ValueError, "filter_size must be at least 1"),
        (lambda: compute_cntk(IMAGES, None, 1, (3, 3)), TypeError, "filter_size must be an int"),
        (lambda: compute_cntk(IMAGES[0], None, 1), ValueError, r"images1\[None\]"),
        (lambda: compute_cntk(IMAGES, IMAGES[..., :1], 1), ValueError, "agree in channels, got 3"),
        (lambda: compute_cntk(IMAGES, IMAGES[:, :3], 1), ValueError, "agree in height, got 4 and"),
        (lambda: compute_cntk(IMAGES[:0], None, 1), ValueError, "empty along n"),
        (
            lambda: compute_cntk(nan_at((2, 3, 3, 1), 0), None, 1),
            ValueError,
            r"images1 must be finite.*\(0, 0, 0, 0\)",
        ),
    ],
)
def test_errors_name_the_argument_and_the_mend(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_traced_depth_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match="static_argnames='depth'"):
        jax.jit(compute_ntk_relu)(X, X, 2)


def test_names_are_public():
    assert ntkjax.compute_ntk_relu is compute_ntk_relu
    assert ntkjax.compute_cntk is compute_cntk
