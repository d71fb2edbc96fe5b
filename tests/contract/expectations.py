"""Expectations of activations under a Gaussian pair: what a nonlinearity does to a kernel.

For (u, v) ~ N(0, [[v1, cov], [cov, v2]]) a nonlinearity f maps the covariance to E f(u) f(v) and
multiplies the tangent kernel by E f'(u) f'(v). Each function here returns both, as functions of
arrays (v1, cov, v2): in closed form, or by an integral in the plane that knows f and f' alone.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy import ndarray
from scipy import special

Pointwise = Callable[[ndarray], ndarray]
OfPair = Callable[[ndarray, ndarray, ndarray], ndarray]


class Expectations(NamedTuple):
    """E f(u) f(v) and E f'(u) f'(v), each a function of the arrays v1, cov, v2."""

    value: OfPair
    slope: OfPair


# ---- by an integral


def by_quadrature(f: Pointwise, slope: Pointwise) -> Expectations:
    """Of any function that is smooth on either side of zero, and of its derivative."""
    return Expectations(
        lambda v1, cov, v2: expectation(f, v1, cov, v2),
        lambda v1, cov, v2: expectation(slope, v1, cov, v2),
    )


def expectation(f: Pointwise, v1: ndarray, cov: ndarray, v2: ndarray) -> ndarray:
    """E f(u) f(v) in polar coordinates, u = r1 rho cos(phi) and v = r2 rho cos(phi - theta).

    Between the angles where u or v changes its sign, f(u) f(v) is smooth in phi: each of these four
    arcs takes a Gauss-Legendre rule of its own. The radius has density rho exp(-rho^2 / 2).
    """
    pairs = np.broadcast_arrays(v1, cov, v2)
    v1, cov, v2 = (array.ravel() for array in pairs)
    r1, r2 = np.sqrt(v1)[:, None, None], np.sqrt(v2)[:, None, None]
    theta = angle(v1, cov, v2)
    rho, of_rho = legendre(0, 10, 64)  # Beyond 10, exp(-rho^2 / 2) is below 1e-21.
    rho, of_rho = rho[:, None], of_rho * rho * np.exp(-(rho**2) / 2) / (2 * np.pi)
    edges = np.sort([np.pi / 2 + 0 * theta, 3 * np.pi / 2 + 0 * theta,
                     np.pi / 2 + theta, (3 * np.pi / 2 + theta) % (2 * np.pi)], axis=0)  # fmt: skip
    total = np.zeros(len(theta))
    for start, end in itertools.pairwise([*edges, edges[0] + 2 * np.pi]):
        phi, of_phi = legendre(start, end, 32)
        u = r1 * rho * np.cos(phi)[:, None, :]
        v = r2 * rho * np.cos(phi - theta[:, None])[:, None, :]
        total += np.einsum("r,kra,ka->k", of_rho, f(u) * f(v), of_phi)
    return total.reshape(pairs[0].shape)


def legendre(start: ndarray | float, end: ndarray | float, count: int) -> tuple[ndarray, ndarray]:
    """Nodes and weights on one interval, or on several: of shape (..., count)."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    half = np.asarray(end - start)[..., None] / 2
    return np.asarray(start + end)[..., None] / 2 + half * nodes, half * weights


def angle(v1: ndarray, cov: ndarray, v2: ndarray) -> ndarray:
    """Between two points, from 0 to pi; a right angle where one of them is zero."""
    product = np.sqrt(v1 * v2)
    cosine = np.divide(cov, product, out=np.zeros(np.shape(product + cov)), where=product > 0)
    return np.arccos(np.clip(cosine, -1, 1))


# ---- in closed form


def rectifier(a: float, b: float) -> Expectations:
    """Of f(x) = a min(x, 0) + b max(x, 0): Cho & Saul 2009, eq. 6-8."""

    def value(v1: ndarray, cov: ndarray, v2: ndarray) -> ndarray:
        theta = angle(v1, cov, v2)
        same = (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
        opposite = (np.sin(theta) - theta * np.cos(theta)) / (2 * np.pi)
        return np.sqrt(v1 * v2) * ((a**2 + b**2) * same - 2 * a * b * opposite)

    def slope(v1: ndarray, cov: ndarray, v2: ndarray) -> ndarray:
        theta = angle(v1, cov, v2)
        return ((a**2 + b**2) * (np.pi - theta) + 2 * a * b * theta) / (2 * np.pi)

    return Expectations(value, slope)


def error_function(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Expectations:
    """Of f(x) = a erf(b x) + c: Williams 1997, eq. 11."""

    def value(v1: ndarray, cov: ndarray, v2: ndarray) -> ndarray:
        root = np.sqrt((1 + 2 * b**2 * v1) * (1 + 2 * b**2 * v2))
        return a**2 * 2 / np.pi * np.arcsin(2 * b**2 * cov / root) + c**2

    def slope(v1: ndarray, cov: ndarray, v2: ndarray) -> ndarray:
        inner = (1 + 2 * b**2 * v1) * (1 + 2 * b**2 * v2) - 4 * b**4 * cov**2
        return a**2 * b**2 * 4 / np.pi / np.sqrt(inner)

    return Expectations(value, slope)


def gaussian_error_linear() -> Expectations:
    """Of f(x) = x Phi(x): Tsuchida et al. 2021, arXiv 2002.08517."""

    def value(v1: ndarray, cov: ndarray, v2: ndarray) -> ndarray:
        both = (1 + v1) * (1 + v2)
        square = both - cov**2
        even = (cov**2 + v1 * v2 * square) / (both * np.sqrt(square))
        return cov / 4 + (even + cov * np.arctan(cov / np.sqrt(square))) / (2 * np.pi)

    def slope(v1: ndarray, cov: ndarray, v2: ndarray) -> ndarray:
        both = (1 + v1) * (1 + v2)
        root = np.sqrt(both - cov**2)
        odd = cov / root * (1 / root**2 + (1 - v1 * v2) / both + 1)
        return 1 / 4 + (np.arctan(cov / root) + odd) / (2 * np.pi)

    return Expectations(value, slope)


# ---- functions for the integral


def normal_density(x: ndarray) -> ndarray:
    """Of a standard normal variable."""
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def gelu(x: ndarray) -> ndarray:
    """x Phi(x)."""
    return x * special.ndtr(x)


def gelu_slope(x: ndarray) -> ndarray:
    """Its derivative, Phi(x) + x phi(x)."""
    return special.ndtr(x) + x * normal_density(x)


def scaled_erf(a: float, b: float, c: float) -> Pointwise:
    """a erf(b x) + c."""
    return lambda x: a * special.erf(b * x) + c


def scaled_erf_slope(a: float, b: float) -> Pointwise:
    """The derivative of a erf(b x) + c."""
    return lambda x: a * b * 2 / np.sqrt(np.pi) * np.exp(-((b * x) ** 2))
