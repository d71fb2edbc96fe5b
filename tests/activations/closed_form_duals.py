"""Closed forms of activations as textbooks have them, of numbers of any kind, and their functions.

A formula takes a module m with exp, sqrt, sin, cos, acos and pi: `jax.numpy` for derivatives, or
mpmath for as many digits as are wanted. It gives E f(u) f(v) and E f'(u) f'(v) of two variances and
a covariance, as a difference of large numbers where that is how the textbook has it.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath

from ntkjax import stax

GAMMA, SHIFT = 0.7, -0.9
COEFFICIENTS = (0.1, 0.5, -0.3, 0.2)
SIGMOID = 1 / 2.4020563531719796


def sinusoid(a, b, cosine_of_twice):
    """a sin(b x + c), of cos(2 c)."""

    def formula(m, v1, v2, k):
        near, apart = (m.exp(b**2 * (sign * k - (v1 + v2) / 2)) for sign in (1, -1))
        apart = cosine_of_twice * apart
        return a**2 / 2 * (near - apart), (a * b) ** 2 / 2 * (near + apart)

    return formula


def rbf(m, v1, v2, k):
    value = m.exp(-GAMMA * (v1 + v2 - 2 * k))
    return value, 2 * GAMMA * value


def gabor(m, v1, v2, k):
    det = (1 + 2 * v1) * (1 + 2 * v2) - 4 * k**2
    rest = v1 + v2 + 4 * (v1 * v2 - k**2)
    near, apart = (m.exp(-(rest + sign * 2 * k) / (2 * det)) for sign in (-1, 1))
    even = 1 / det + 8 * (k / det) ** 2
    odd = 4 * k / det * (1 + (1 + v1 + v2) / det)
    slope = (near * (even + odd) + apart * (even - odd)) / (2 * m.sqrt(det))
    return (near - apart) / (2 * m.sqrt(det)), slope


def gaussian(a, b):
    def formula(m, v1, v2, k):
        det = (1 - 2 * b * v1) * (1 - 2 * b * v2) - (2 * b * k) ** 2
        return a**2 / m.sqrt(det), (2 * a * b) ** 2 * k / det / m.sqrt(det)

    return formula


def exponential(a, b):
    def formula(m, v1, v2, k):
        value = a**2 * m.exp(b**2 * ((v1 + v2) / 2 + k))
        return value, b**2 * value

    return formula


def exp_normalized(m, v1, v2, k):
    factor = m.exp(GAMMA * (k / m.sqrt(v1 * v2) + SHIFT))
    return m.sqrt(v1 * v2) * factor, GAMMA * factor


def error_function(a, b, c):
    def formula(m, v1, v2, k):
        size = (1 + 2 * b**2 * v1) * (1 + 2 * b**2 * v2)
        slope = 4 * (a * b) ** 2 / m.pi / m.sqrt(size - 4 * b**4 * k**2)
        # The arcsine, by the angle that m has.
        return 2 * a**2 / m.pi * (m.pi / 2 - m.acos(2 * b**2 * k / m.sqrt(size))) + c**2, slope

    return formula


def angle(m, v1, v2, k):
    cosine = k / m.sqrt(v1 * v2)
    if m is mpmath:
        cosine = min(max(cosine, -1), 1)
    return m.acos(cosine)


def sign(m, v1, v2, k):
    return 1 - 2 * angle(m, v1, v2, k) / m.pi, 0 * k


def rectified(n):
    """Cho & Saul 2009, eq. 4: J_n of sines and cosines, up to n = 3."""

    def order(m, n, t):
        sin, cos, left = m.sin(t), m.cos(t), m.pi - t
        if n == 0:
            return left
        if n == 1:
            return sin + left * cos
        if n == 2:
            return 3 * sin * cos + left * (1 + 2 * cos**2)
        return 4 * sin + 11 * sin * cos**2 + left * (9 * cos + 6 * cos**3)

    def formula(m, v1, v2, k):
        product, t = m.sqrt(v1 * v2), angle(m, v1, v2, k)
        value = product**n * order(m, n, t) / (2 * m.pi)
        if n == 0:
            return value, 0 * k
        return value, n**2 * product ** (n - 1) * order(m, n - 1, t) / (2 * m.pi)

    return formula


def polynomial(*coefficients):
    """By moments: E u^i v^j = sum over the number l of pairs between u and v (Isserlis 1918)."""

    def moment(v1, v2, k, i, j):
        total = 0 * k
        for level in range(i % 2, min(i, j) + 1, 2):
            left, right = (i - level) // 2, (j - level) // 2
            ways = math.comb(i, level) * math.comb(j, level) * math.factorial(level)
            ways *= odd_factorial(2 * left - 1) * odd_factorial(2 * right - 1)
            total = total + ways * k**level * v1**left * v2**right
        return total

    def mean_product(c, v1, v2, k):
        return sum(
            one * two * moment(v1, v2, k, i, j)
            for i, one in enumerate(c)
            for j, two in enumerate(c)
            if (i + j) % 2 == 0
        )

    def formula(m, v1, v2, k):
        slopes = [n * c for n, c in enumerate(coefficients)][1:]
        return mean_product(coefficients, v1, v2, k), mean_product(slopes, v1, v2, k) + 0 * k

    return formula


def odd_factorial(n):
    """1 * 3 * ... * n."""
    return math.prod(range(1, n + 1, 2))


def hermite(n):
    return lambda m, v1, v2, k: (k**n, n * k ** (n - 1))


class Form(NamedTuple):
    """A layer, its closed form, and its function and derivative in mpmath (None: not a dual)."""

    layer: Any
    formula: Callable
    functions: tuple[Callable, Callable] | None
    largest: float = 1e4  # variance whose results fit float32
    is_smooth: bool = True


m = mpmath
FORMS = {
    "Sin": Form(stax.Sin(), sinusoid(1, 1, 1), (m.sin, m.cos)),
    "Sin(2, 0.5, 0.3)": Form(
        stax.Sin(2.0, 0.5, 0.3),
        sinusoid(2, 0.5, math.cos(0.6)),
        (lambda x: 2 * m.sin(x / 2 + 0.3), lambda x: m.cos(x / 2 + 0.3)),
    ),
    "Cos": Form(stax.Cos(), sinusoid(1, 1, -1), (m.cos, lambda x: -m.sin(x))),
    "Rbf": Form(
        stax.Rbf(GAMMA),
        rbf,
        (
            lambda x: m.sqrt(2) * m.sin(m.sqrt(2 * m.mpf(GAMMA)) * x + m.pi / 4),
            lambda x: 2 * m.sqrt(m.mpf(GAMMA)) * m.cos(m.sqrt(2 * m.mpf(GAMMA)) * x + m.pi / 4),
        ),
    ),
    "Gabor": Form(
        stax.Gabor(),
        gabor,
        (
            lambda x: m.exp(-x * x) * m.sin(x),
            lambda x: m.exp(-x * x) * (m.cos(x) - 2 * x * m.sin(x)),
        ),
    ),
    "Gaussian": Form(
        stax.Gaussian(),
        gaussian(1, -1),
        (lambda x: m.exp(-x * x), lambda x: -2 * x * m.exp(-x * x)),
    ),
    "Gaussian(2, -0.25)": Form(
        stax.Gaussian(2.0, -0.25),
        gaussian(2, -0.25),
        (lambda x: 2 * m.exp(-x * x / 4), lambda x: -x * m.exp(-x * x / 4)),
    ),
    "Exp": Form(
        stax.Exp(0.5, 0.25),
        exponential(0.5, 0.25),
        (lambda x: m.exp(x / 4) / 2, lambda x: m.exp(x / 4) / 8),
        largest=1e2,
    ),
    "ExpNormalized": Form(stax.ExpNormalized(GAMMA, SHIFT), exp_normalized, None, is_smooth=False),
    "Sigmoid_like": Form(
        stax.Sigmoid_like(),
        error_function(0.5, SIGMOID, 0.5),
        (
            lambda x: (1 + m.erf(m.mpf(SIGMOID) * x)) / 2,
            lambda x: m.mpf(SIGMOID) / m.sqrt(m.pi) * m.exp(-((m.mpf(SIGMOID) * x) ** 2)),
        ),
    ),
    "Sign": Form(stax.Sign(), sign, (m.sign, lambda x: m.mpf(0)), is_smooth=False),
    **{
        f"RectifiedMonomial({n})": Form(
            stax.RectifiedMonomial(n),
            rectified(n),
            (
                lambda x, n=n: x**n if x >= 0 else m.mpf(0),
                lambda x, n=n: n * x ** (n - 1) if n and x >= 0 else m.mpf(0),
            ),
            is_smooth=False,
        )
        for n in range(4)
    },
    **{
        f"Monomial({n})": Form(
            stax.Monomial(n),
            polynomial(*[0] * n, 1),
            (lambda x, n=n: x**n, lambda x, n=n: n * x ** (n - 1) if n else m.mpf(0)),
            is_smooth=False,
        )
        for n in range(6)
    },
    "Polynomial": Form(
        stax.Polynomial(COEFFICIENTS),
        polynomial(*COEFFICIENTS),
        (
            lambda x: sum(m.mpf(c) * x**n for n, c in enumerate(COEFFICIENTS)),
            lambda x: 0.5 - 2 * m.mpf(0.3) * x + 3 * m.mpf(0.2) * x * x,
        ),
        is_smooth=False,
    ),
    "Hermite(3)": Form(stax.Hermite(3), hermite(3), None, is_smooth=False),
    "Hermite(4)": Form(stax.Hermite(4), hermite(4), None, is_smooth=False),
}
