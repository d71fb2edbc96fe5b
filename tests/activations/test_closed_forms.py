"""Nonlinearities of a closed form against mpmath, over all sizes and angles, in both precisions."""

import functools

import mpmath
import numpy as np
import pytest

from ntkjax import stax
from tests.activations.closed_form_duals import FORMS
from tests.helpers import fast_jit

TOLERANCES = {np.float64: 1e-12, np.float32: 1e-5}
ANGLES = [0.0, 1e-3, 0.8, np.pi / 2, np.pi - 1e-3, np.pi]
each_form = pytest.mark.parametrize("name", list(FORMS))


# ---- the closed forms are integrals


def plane_integral(function, v1, v2, k):
    """E f(u) f(v) of an entire function by the trapezoidal rule, of error exp(-2 pi^2 / h^2)."""
    step, reach = mpmath.mpf(1) / 3, 40
    root = mpmath.sqrt(v1)
    slope, rest = k / root, mpmath.sqrt(v2 - k * k / v1)
    nodes = [step * i for i in range(-reach, reach + 1)]
    weights = [step * mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi) for z in nodes]
    total = mpmath.mpf(0)
    for z, weight in zip(nodes, weights, strict=True):
        inner = sum(w * function(slope * z + rest * y) for y, w in zip(nodes, weights, strict=True))
        total += weight * function(root * z) * inner
    return total


def angular_integral(function, degree, v1, v2, k):
    """The same of a function that is homogeneous of a degree, along a circle."""
    theta = mpmath.acos(k / mpmath.sqrt(v1 * v2))
    edges = sorted([-mpmath.pi / 2, theta - mpmath.pi / 2, mpmath.pi / 2, theta + mpmath.pi / 2])

    def along(phi):
        return function(mpmath.cos(phi)) * function(mpmath.cos(phi - theta))

    angular = mpmath.quad(along, [*edges, edges[0] + 2 * mpmath.pi]) / (2 * mpmath.pi)
    radial = 2**degree * mpmath.factorial(degree)  # E rho^(2 degree)
    return radial * mpmath.sqrt(v1 * v2) ** degree * angular


@each_form
def test_formulas_are_integrals(name):
    form = FORMS[name]
    if form.functions is None:
        pytest.skip("no dual of a function")
    is_rectified = name.startswith(("Sign", "Rectified"))
    degree = int(name[-2]) if name.startswith("Rectified") else 0
    with mpmath.workdps(80):
        v1, v2, k = mpmath.mpf(5) / 8, mpmath.mpf(3) / 4, -mpmath.mpf(3) / 8
        for i, (function, wanted) in enumerate(
            zip(form.functions, form.formula(mpmath, v1, v2, k), strict=True)
        ):
            if is_rectified:
                value = angular_integral(function, max(degree - i, 0), v1, v2, k)
            else:
                value = plane_integral(function, v1, v2, k)
            # The numbers of a formula are floats, and its products of them are rounded.
            assert abs(value - wanted) < 1e-15 * (1 + abs(wanted))


# ---- kernels have the digits of their dtype


def points(variances):
    """Points of all angles and these variances, of one layer Dense(1); numbers of float32."""
    return np.array(
        [
            [np.sqrt(2 * v) * np.cos(t), np.sqrt(2 * v) * np.sin(t)]
            for v in variances
            for t in ANGLES
        ]
    ).astype(np.float32)


@functools.cache
def program(name):
    kernel_fn = stax.serial(stax.Dense(1), FORMS[name].layer).kernel_fn
    return fast_jit(lambda x1, x2: kernel_fn(x1, x2, ("nngp", "ntk")))


@functools.cache
def exact(name, variances):
    """Both kernels in 40 digits, and their sizes: roots of products of those of single points."""
    formula, x1, x2 = FORMS[name].formula, points(variances), points(variances[::-1])
    with mpmath.workdps(40):
        one, two = ([[mpmath.mpf(float(a)) for a in row] for row in x] for x in (x1, x2))
        dot = lambda a, b: sum(p * q for p, q in zip(a, b, strict=True)) / 2  # noqa: E731

        def both(a, b):
            v1, v2, k = dot(a, a), dot(b, b), dot(a, b)
            value, slope = formula(mpmath, v1, v2, k)
            return value, k * slope

        pairs = np.array([[both(a, b) for b in two] for a in one])
        own1, own2 = (np.array([both(a, a) for a in x]) for x in (one, two))
        sizes = np.sqrt(np.abs(own1[:, None] * own2).astype(float))
        return np.moveaxis(pairs.astype(float), -1, 0), np.moveaxis(sizes, -1, 0)


def largest_errors(name, dtype, variances):
    """Of the NNGP and the NTK, relative to their sizes."""
    x1, x2 = points(variances), points(variances[::-1])
    found = program(name)(x1.astype(dtype), x2.astype(dtype))
    wanted, sizes = exact(name, variances)
    return [
        np.max(np.abs(np.asarray(array, float) - value) / np.where(size > 0, size, 1.0))
        for array, value, size in zip(found, wanted, sizes, strict=True)
    ]


@pytest.mark.parametrize("dtype", list(TOLERANCES), ids=["float64", "float32"])
@each_form
def test_accuracy(name, dtype):
    largest = FORMS[name].largest
    for variances in [(1e-4, 1.0, largest), (1.0, 1.001, 1.5), (0.3 * largest, largest, largest)]:
        errors = largest_errors(name, dtype, variances)
        assert max(errors) < TOLERANCES[dtype], (variances, errors)


# ---- near-equal points, deep networks

# Standard deviations of weights with which the variances of a deep network stay within bounds.
DEEP = {
    "Sin": 1.5,
    "Cos": 1.2,
    "Rbf": 0.8,
    "Gabor": 2.0,
    "Gaussian": 1.0,
    "Exp": 0.8,
    "ExpNormalized": 1.1,
    "Sigmoid_like": 1.5,
    "Sign": 1.0,
    "RectifiedMonomial(0)": 1.4,
    "Monomial(1)": 1.0,
    "Polynomial": 0.7,
}


def deep_errors(name, depth=20):
    """Largest relative errors in float32 of both kernels, of points 1e-3 apart."""
    block = stax.serial(stax.Dense(1, DEEP[name], 0.1), FORMS[name].layer)
    kernel_fn = stax.serial(stax.repeat(block, depth), stax.Dense(1)).kernel_fn
    deep = fast_jit(lambda x: kernel_fn(x, None, ("nngp", "ntk")))
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(1, 20)) + 1e-3 * rng.normal(size=(8, 20))).astype(np.float32)
    single, double = deep(x), deep(x.astype(np.float64))
    assert single.nngp.dtype == np.float32
    return [
        float(np.max(np.abs(np.asarray(one, float) - two)) / np.max(np.abs(two)))
        for one, two in zip(single, double, strict=True)
    ]


@pytest.mark.parametrize("name", ["Sin", "Gaussian", "Sign"])
def test_float32_is_as_good_as_float64_on_near_equal_points(name):
    assert max(deep_errors(name)) < 1e-5
