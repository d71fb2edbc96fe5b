"""Cases of the nonlinearities that have a closed form; their twins are integrals in the plane."""

import math

import numpy as np
from scipy import special

from ntkjax.stax import (
    Conv,
    Cos,
    Dense,
    Exp,
    ExpNormalized,
    Gabor,
    Gaussian,
    Hermite,
    LayerNorm,
    Monomial,
    Polynomial,
    Rbf,
    RectifiedMonomial,
    Sigmoid_like,
    Sign,
    Sin,
)
from tests.contract import twins
from tests.contract.case import Case
from tests.contract.expectations import Expectations, angle, by_quadrature

CONV = {"padding": "SAME", "W_std": 1.1, "b_std": 0.2}
COEFFICIENTS = [0.1, 0.5, -0.3, 0.2]
GAMMA = 0.7
SIGMOID = 1 / 2.4020563531719796


def of_points(layer, f, slope):
    """A layer after Dense: its network, and the twin by f and its derivative."""
    return (
        lambda n: [Dense(n), layer],
        twins.serial(twins.dense(), twins.activation(by_quadrature(f, slope))),
        (3,),
    )


def of_images(layer, f, slope):
    """The same after Conv with biases: positions and images of different variances."""
    return (
        lambda n: [Conv(n, (3,), **CONV), layer],
        twins.serial(twins.conv((3,), **CONV), twins.activation(by_quadrature(f, slope))),
        (4, 2),
    )


def normalized_exponential(gamma, shift):
    """K <- r1 r2 exp(gamma (cos + shift)): no function's dual."""

    def factor(v1, cov, v2):
        return np.exp(gamma * (np.cos(angle(v1, cov, v2)) + shift))

    return Expectations(
        lambda v1, cov, v2: np.sqrt(v1 * v2) * factor(v1, cov, v2),
        lambda v1, cov, v2: gamma * factor(v1, cov, v2),
    )


def unit_hermite(degree):
    """K <- K^n, for points of variance 1."""
    return Expectations(
        lambda v1, cov, v2: cov**degree, lambda v1, cov, v2: degree * cov ** (degree - 1)
    )


def bell(x):
    return np.exp(-(x**2))


def rbf(x):
    return math.sqrt(2) * np.sin(math.sqrt(2 * GAMMA) * x + math.pi / 4)


def rbf_slope(x):
    return 2 * math.sqrt(GAMMA) * np.cos(math.sqrt(2 * GAMMA) * x + math.pi / 4)


CASES = [
    Case(
        "Sin", ("Sin",),
        *of_images(
            Sin(0.8, 1.7, 0.3),
            lambda x: 0.8 * np.sin(1.7 * x + 0.3), lambda x: 1.36 * np.cos(1.7 * x + 0.3),
        ),
    ),
    Case("Sin, alone", (), *of_points(Sin(), np.sin, np.cos)),
    Case("Cos", ("Cos",), *of_images(Cos(), np.cos, lambda x: -np.sin(x))),
    Case("Rbf", ("Rbf",), *of_points(Rbf(GAMMA), rbf, rbf_slope)),
    Case(
        "Gabor", ("Gabor",),
        *of_images(
            Gabor(),
            lambda x: bell(x) * np.sin(x), lambda x: bell(x) * (np.cos(x) - 2 * x * np.sin(x)),
        ),
    ),
    Case(
        "Gaussian", ("Gaussian",),
        *of_images(
            Gaussian(1.1, -0.6),
            lambda x: 1.1 * np.exp(-0.6 * x**2), lambda x: -1.32 * x * np.exp(-0.6 * x**2),
        ),
    ),
    Case(
        "Exp", ("Exp",),
        *of_images(
            Exp(0.5, 0.4), lambda x: 0.5 * np.exp(0.4 * x), lambda x: 0.2 * np.exp(0.4 * x)
        ),
    ),
    Case(
        "ExpNormalized", ("ExpNormalized",),
        lambda n: [Conv(n, (3,), **CONV), ExpNormalized(0.8, -0.9)],
        twins.serial(
            twins.conv((3,), **CONV), twins.activation(normalized_exponential(0.8, -0.9))
        ), (4, 2), is_finite=False,
    ),
    Case(
        "Sigmoid_like", ("Sigmoid_like",),
        *of_points(
            Sigmoid_like(),
            lambda x: 0.5 + 0.5 * special.erf(SIGMOID * x),
            lambda x: SIGMOID / math.sqrt(math.pi) * np.exp(-((SIGMOID * x) ** 2)),
        ),
    ),
    Case("Sign", ("Sign",), *of_images(Sign(), np.sign, np.zeros_like)),
    Case(
        "RectifiedMonomial", ("RectifiedMonomial",),
        *of_images(
            RectifiedMonomial(2),
            lambda x: np.where(x > 0, x**2, 0.0), lambda x: 2 * np.maximum(x, 0),
        ),
    ),
    Case(
        "RectifiedMonomial, step", (),
        *of_points(RectifiedMonomial(0), lambda x: np.where(x >= 0, 1.0, 0.0), np.zeros_like),
    ),
    Case(
        "RectifiedMonomial, cube", (),
        *of_points(
            RectifiedMonomial(3),
            lambda x: np.where(x > 0, x**3, 0.0), lambda x: 3 * np.maximum(x, 0) ** 2,
        ),
    ),
    Case("Monomial", ("Monomial",), *of_images(Monomial(2), np.square, lambda x: 2 * x)),
    Case(
        "Monomial, cube", (),
        *of_points(Monomial(3), lambda x: x**3, lambda x: 3 * x**2),
    ),
    Case(
        "Polynomial", ("Polynomial",),
        *of_images(
            Polynomial(COEFFICIENTS),
            lambda x: np.polynomial.polynomial.polyval(x, COEFFICIENTS),
            lambda x: 0.5 - 0.6 * x + 0.6 * x**2,
        ),
    ),
    Case(
        "Hermite", ("Hermite",),
        lambda n: [Dense(n), LayerNorm(), Hermite(2)],
        twins.serial(twins.dense(), twins.layer_norm(), twins.activation(unit_hermite(2))), (3,),
        widths=(128, 256),
    ),
]  # fmt: skip
