"""Pairs of very different sizes and opposite pairs, in float32 against extended precision.

Errors of E f(u) f(v) and of E f'(u) f'(v) are relative to the sizes of both points.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._activations.error_function import ErrorFunction
from ntkjax._activations.gelu import GaussianErrorLinear
from ntkjax._activations.rectifier import Rectifier
from tests.helpers import fast_jit

WIDE = np.longdouble
PI = 4 * np.arctan(WIDE(1))


def arcsine(v1, v2, delta, sign):
    """The K, gamma and root of a pair whose |K| is r1 r2 (1 - delta)."""
    product = np.sqrt(v1 * v2)
    size, rest = product * (1 - delta), product * delta
    root = np.sqrt(1 + v1 + v2 + rest * (product + size))
    return sign * size, sign * np.arctan2(size, root), root


def exact_erf(v1, v2, delta, sign):
    _, gamma, root = arcsine(2 * v1, 2 * v2, delta, sign)
    return 2 / PI * gamma, 4 / PI / root


def exact_gelu(v1, v2, delta, sign):
    k, gamma, root = arcsine(v1, v2, delta, sign)
    i1, i2 = 1 / (1 + v1), 1 / (1 + v2)
    even = k * gamma + (k**2 + v1 * v2 * root**2) * i1 * i2 / root
    turn = gamma + k / root * (1 / root**2 + i1 + i2)
    return k / 4 + even / (2 * PI), WIDE(0.25) + turn / (2 * PI)


EXACT = {
    "erf": (ErrorFunction(1.0, 1.0, 0.0), exact_erf),
    "gelu": (GaussianErrorLinear(), exact_gelu),
}


def pairs_of_all_sizes(seed=0, count=4000):
    """Variances from 1e-16 to 1e16; deltas of all sizes; signs."""
    rng = np.random.default_rng(seed)
    v1, v2 = (10 ** rng.uniform(-16, 16, (2, count))).astype(np.float32)
    delta = np.where(rng.random(count) < 0.5, rng.random(count), 10 ** rng.uniform(-12, 0, count))
    return v1, v2, delta.astype(np.float32), rng.choice([-1, 1], count)


def sizes_of(exact, var):
    """E f(u)^2 and E f'(u)^2."""
    return exact(var, var, 0 * var, 1)


@pytest.mark.parametrize("name", list(EXACT))
def test_far_pairs(name):
    activation, exact = EXACT[name]
    v1, v2, delta, sign = pairs_of_all_sizes()
    w1, w2, wide_delta = v1.astype(WIDE), v2.astype(WIDE), delta.astype(WIDE)
    product = np.sqrt(w1 * w2)
    covariance = (sign * product * (1 - wide_delta)).astype(np.float32)
    rest = (product * wide_delta).astype(np.float32)

    def far(v1, v2, covariance, rest):
        points = activation.point(v1), activation.point(v2)
        alone = activation.far(*points, covariance)
        return alone, activation.far(*points, covariance, rest=rest), activation.variance(v1)

    alone, with_rest, energy = jax.tree.map(np.asarray, fast_jit(far)(v1, v2, covariance, rest))
    wanted = exact(w1, w2, wide_delta, sign)
    (of_f1, of_slope1), (of_f2, of_slope2) = sizes_of(exact, w1), sizes_of(exact, w2)
    assert with_rest.covariance.dtype == np.float32
    np.testing.assert_array_less(np.abs(energy / of_f1 - 1), 5e-7)
    sizes = np.sqrt(of_f1 * of_f2), np.sqrt(of_slope1 * of_slope2)
    for actual, expected, size in zip(with_rest[:2], wanted, sizes, strict=True):
        np.testing.assert_array_less(np.abs(actual - expected) / size, 5e-7)
    # K alone is enough where points are not nearly parallel.
    for actual, expected, size in zip(alone[:2], wanted, sizes, strict=True):
        error = np.abs(actual - expected) / size
        np.testing.assert_array_less(error[delta > 0.1], 2e-6)
    assert alone.distance is None


@pytest.mark.parametrize("name", list(EXACT))
def test_the_distance_of_a_far_pair_is_that_of_the_pair(name):
    activation, _ = EXACT[name]
    rng = np.random.default_rng(1)
    std = 10 ** rng.uniform(-6, 5, 2000)
    v1 = (std**2).astype(np.float32)
    step = 10 ** rng.uniform(-6, -1, 2000)
    apart = np.where(rng.random(2000) < 0.5, 0, step * rng.uniform(-1, 1, 2000))
    v2 = ((v1**0.5 * (1 + apart)) ** 2).astype(np.float32)
    v2 = np.where(apart == 0, v1, v2)
    product = np.sqrt(v1.astype(WIDE) * v2)
    rest = (product * step**2).astype(np.float32)
    covariance = (product - rest).astype(np.float32)
    found = fast_jit(
        lambda v1, v2, k, rest: activation.far(
            activation.point(v1), activation.point(v2), k, rest=rest
        )
    )(v1, v2, covariance, rest)

    r1, r2 = np.sqrt(v1.astype(WIDE)), np.sqrt(v2.astype(WIDE))
    distance = ((v1.astype(WIDE) - v2) / (r1 + r2)) ** 2 + 2 * rest.astype(WIDE)
    double = activation.pair(
        activation.point(jnp.asarray(v1, float)),
        activation.point(jnp.asarray(v2, float)),
        jnp.asarray(distance.astype(float)),
    ).distance
    # Where sizes differ, a rounding error of theirs is one of the distance.
    double, energy = np.asarray(double), np.asarray(activation.variance(jnp.asarray(v1, float)))
    rounding = np.where(v1 == v2, 0, 1e-6 * np.sqrt(double * energy))
    np.testing.assert_array_less(
        np.abs(np.asarray(found.distance) - double), 3e-6 * double + rounding
    )


def test_gelu_is_a_rectifier_beyond_its_cap():
    cap = WIDE(GaussianErrorLinear.cap(np.float32))
    rng = np.random.default_rng(2)
    r1, r2 = cap * 10 ** rng.uniform(0, 3, 2000).astype(WIDE), cap * 10 ** rng.uniform(-8, 1, 2000)
    delta, sign = 10 ** rng.uniform(-25, 0, 2000).astype(WIDE), rng.choice([-1, 1], 2000)
    wanted = exact_gelu(r1**2, r2**2, delta, sign)
    c1, c2 = np.minimum(r1, cap), np.minimum(r2, cap)
    covariance, slope = exact_gelu(c1**2, c2**2, delta, sign)
    capped = covariance * (r1 / c1) * (r2 / c2), slope
    (of_f1, of_slope1), (of_f2, of_slope2) = (sizes_of(exact_gelu, r**2) for r in (r1, r2))
    sizes = np.sqrt(of_f1 * of_f2), np.sqrt(of_slope1 * of_slope2)
    for actual, expected, size in zip(capped, wanted, sizes, strict=True):
        np.testing.assert_array_less(np.abs(actual - expected) / size, 1e-7)


@pytest.mark.parametrize("name", list(EXACT))
def test_variances_of_extreme_points(name):
    activation, _ = EXACT[name]
    variances = activation.variance(jnp.asarray([0.0, 1e-30, 3e38, np.inf], jnp.float32))
    wanted = {"erf": [0, 4e-30 / np.pi, 1, 1], "gelu": [0, 2.5e-31, 1.5e38, np.inf]}[name]
    np.testing.assert_allclose(variances, wanted, rtol=1e-6)


# ---- opposite points


def unit(x):
    """Of length sqrt(n), so that its variance is 1: every image carries its own scale."""
    return (x / np.sqrt(np.mean(x.astype(WIDE) ** 2, -1, keepdims=True))).astype(np.float32)


@pytest.mark.parametrize("apart", [0.0, 1e-6, 1e-3, 1e-2, 0.3])
@pytest.mark.parametrize("sign", [-1, 1])
def test_opposite_and_equal_points_of_a_rectifier(sign, apart):
    """Vectors x and +-(x + apart), of norms whose ratio runs from 1e-3 to 1e3."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 50))
    ratio = 10 ** rng.uniform(-3, 3, (300, 1))
    g, h = unit(x), unit(sign * ratio * (x + apart * rng.normal(size=x.shape)))
    v1, v2 = np.mean(g * g, -1), np.mean(h * h, -1)
    distance, supplement = np.mean((g - h) ** 2, -1), np.mean((g + h) ** 2, -1)
    relu = Rectifier(0.0, 1.0)

    @jax.jit
    def made(v1, v2, distance, supplement):
        points = relu.point(v1), relu.point(v2)
        wants = relu.wants_supplement(*points, distance)
        plain = relu.pair(*points, distance)
        return plain, relu.pair(*points, distance, supplement=supplement), wants

    plain, found, wants = jax.tree.map(np.asarray, made(v1, v2, distance, supplement))
    # Of the same float32 vectors, by half angles.
    g, h = (w / np.linalg.norm(w, axis=-1, keepdims=True) for w in (g.astype(WIDE), h.astype(WIDE)))
    theta = 2 * np.arctan2(np.linalg.norm(g - h, axis=-1), np.linalg.norm(g + h, axis=-1))
    slope = (PI - theta) / (2 * PI)
    np.testing.assert_allclose(found.slope, slope, atol=1e-6)
    np.testing.assert_allclose(np.where(wants, slope, plain.slope), slope, atol=1e-6)
    covariance = (np.sin(theta) + (PI - theta) * np.cos(theta)) / (2 * PI)
    np.testing.assert_allclose(0.25 * (v1 + v2) - 0.5 * found.distance, covariance, atol=5e-7)
    if sign < 0:
        assert np.all(wants) or apart > 1e-3
    else:
        assert not np.any(wants)


@pytest.mark.parametrize("name", list(EXACT))
def test_opposite_points_of_one_large_variance(name):
    activation, exact = EXACT[name]
    v = np.geomspace(10, 1e4, 50).astype(np.float32)
    delta = np.geomspace(1e-8, 0.5, 50)
    v1, delta = (a.ravel() for a in np.meshgrid(v, delta, indexing="ij"))
    supplement = (2 * v1.astype(WIDE) * delta).astype(np.float32)
    distance = (4 * v1.astype(WIDE) - supplement).astype(np.float32)
    delta = supplement / (2 * v1.astype(WIDE))

    def made(v1, distance, supplement):
        point = activation.point(v1)
        found = activation.pair(point, point, distance, supplement=supplement)
        plain = activation.pair(point, point, distance)
        return found, plain, activation.wants_supplement(point, point, distance)

    found, plain, wants = jax.tree.map(np.asarray, fast_jit(made)(v1, distance, supplement))
    w = v1.astype(WIDE)
    wanted = exact(w, w, delta, -1)[1]
    size = sizes_of(exact, w)[1]
    np.testing.assert_array_less(np.abs(found.slope - wanted) / size, 1e-6)
    np.testing.assert_array_less(np.abs(np.where(wants, wanted, plain.slope) - wanted) / size, 2e-6)
    assert np.any(wants)
    assert not np.all(wants)
