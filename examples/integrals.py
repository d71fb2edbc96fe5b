"""Expectations of functions of two Gaussians by mpmath, with panels between kinks."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mpmath
from mpmath import mp, mpf

from gallery import Entry

DIGITS = 25
NODES = 20
REACH = 10
#: Panels that resolve the density.
GRID = (-REACH, -5, -2, 0, 2, 5, REACH)
#: Panels that resolve what f does near zero, when points are large.
BENDS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0)

Number = Callable[[Any], Any]


def expectations(
    entry: Entry, v1: float, v2: float, cosine: float
) -> Iterator[tuple[float, float]]:
    """E f(u) f(v) and E f'(u) f'(v), and the roots of E f(u)^2 E f(v)^2 and of those of f'."""
    with mp.workdps(DIGITS):
        if entry.formula is not None:
            variances = mpf(v1), mpf(v2)
            sizes = [entry.formula(v, v, mpf(1)) for v in variances]
            for i, value in enumerate(entry.formula(*variances, mpf(cosine))):
                yield float(value), float(_root(sizes[0][i] * sizes[1][i]))
            return
        for f in (entry.value, entry.slope):
            squares = [_parallel(f, entry.kinks, mpf(v), mpf(v), 1) for v in (v1, v2)]
            if abs(cosine) == 1:
                found = _parallel(f, entry.kinks, mpf(v1), mpf(v2), int(cosine))
            else:
                found = _pair(f, entry.kinks, mpf(v1), mpf(v2), mpf(cosine))
            yield float(found), float(_root(squares[0] * squares[1]))


def _root(x: Any) -> Any:
    return mpmath.sqrt(x)


@functools.cache
def _rule() -> list[tuple[Any, Any]]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    found = []
    with mp.workdps(DIGITS + 5):
        for i in range(NODES):
            x = mpmath.cos(mpmath.pi * (i + mpf(3) / 4) / (NODES + mpf(1) / 2))
            for _ in range(8):
                p, before = mpmath.legendre(NODES, x), mpmath.legendre(NODES - 1, x)
                slope = NODES * (x * p - before) / (x * x - 1)
                x -= p / slope
            found.append(((1 + x) / 2, 1 / ((1 - x * x) * slope * slope)))
    return found


def _points(edges: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Nodes between edges, and their weights times the density."""
    inside = sorted({mpf(e) for e in edges if abs(e) <= REACH})
    for a, b in itertools.pairwise(inside):
        if b - a > mpf(10) ** -20:
            for t, weight in _rule():
                x = a + (b - a) * t
                yield x, (b - a) * weight * mpmath.npdf(x)


def _bends(kinks: Sequence[float], std: Any) -> list[Any]:
    """Where f of this standard deviation bends."""
    points = {*map(mpf, kinks), *(sign * mpf(b) for b in BENDS for sign in (1, -1))}
    return [t / std for t in points]


def _parallel(f: Number, kinks: Sequence[float], v1: Any, v2: Any, sign: int) -> Any:
    """Of a Gaussian and a multiple of it."""
    r1, r2 = mpmath.sqrt(v1), sign * mpmath.sqrt(v2)
    edges = [*GRID, *_bends(kinks, r1), *_bends(kinks, r2)]
    return mpmath.fsum(w * f(r1 * x) * f(r2 * x) for x, w in _points(edges))


def _pair(f: Number, kinks: Sequence[float], v1: Any, v2: Any, cosine: Any) -> Any:
    """Of any two, at most of variance 1."""
    if not kinks:
        return _smooth_pair(f, v1, v2, cosine)
    r1, r2 = mpmath.sqrt(v1), mpmath.sqrt(v2)
    onto, rest = cosine * r2, r2 * mpmath.sqrt(1 - cosine * cosine)

    def inner(x: Any) -> Any:
        mean = onto * x
        cuts = [(t - mean) / rest for t in map(mpf, kinks)]
        return mpmath.fsum(w * f(mean + rest * y) for y, w in _points([*GRID, *cuts]))

    edges = [*GRID, *(mpf(t) / r1 for t in kinks)]
    return mpmath.fsum(w * f(r1 * x) * inner(x) for x, w in _points(edges))


def _smooth_pair(f: Number, v1: Any, v2: Any, cosine: Any) -> Any:
    """By the trapezoidal rule, which is exact to e^-39 if f has no pole nearer than pi / 2."""
    r1, r2 = mpmath.sqrt(v1), mpmath.sqrt(v2)
    onto, rest = cosine * r2, r2 * mpmath.sqrt(1 - cosine * cosine)
    points = [(mpf(i) / 4, mpmath.npdf(mpf(i) / 4) / 4) for i in range(-36, 37)]

    def inner(x: Any) -> Any:
        return mpmath.fsum(w * f(onto * x + rest * y) for y, w in points)

    return mpmath.fsum(w * f(r1 * x) * inner(x) for x, w in points)
