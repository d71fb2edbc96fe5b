r"""The dual of any function in Chebyshev polynomials, for standard deviations up to a certain size.

The slope of a pair, with standard deviations r1 and r2 and correlation c,

    G(r1, r2, c) = E f'(u) f'(v),

is a smooth function of three numbers. It is expanded once for each f, when the layer first meets
numbers. By Price's theorem, the other expectations follow from it, with nothing that cancels:

    E f(u) f(v)       = m1 m2 + K (1 / c) int_0^c G,                          m = E f(u),
    E (f(u) - f(v))^2 = (r1 - r2)^2 H + 2 (r1 r2 - K) / (1 - c) int_c^1 G,

with H(r1, r2) = E ((f(r1 x) - f(r2 x)) / (r1 - r2))^2. All of G, the two means of it, H and m are
sums of a few products

    T_k(s(c)) e_a(r1) e_b(r2),

where the functions e_a, a dozen for float64, span what f(r x) needs for all r. What is left for a
pair is multiplications and additions.

Worked example, f = tanh in float32: G is known to 1e-8 for all r below 8 by 28 polynomials of s and
9 functions of r.

Two kinds of functions can be expanded. Of a smooth f, the Mehler series

    G = sum_k b_k(r1) b_k(r2) c^k,    b_k(r) = E f'(r x) h_k(x),

in the normalised Hermite polynomials h_k, converges, if slowly, and gives G at the nodes. G is a
smooth function of c, with singularities as near to the ends as 1 / r^2. The variable s stretches
the ends. Of an f with a kink at zero, G is smooth in the angle, and G at the nodes is an integral
in polar coordinates. A kink elsewhere has no such expansion: where r1 and r2 differ little, G has
as little a feature.

Source: Price 1958; Mehler 1866; Trefethen 2013, Approximation Theory and Approximation Practice.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy import ndarray
from numpy.polynomial import chebyshev, legendre

#: f and f' at points of any shape.
Sampler = Callable[[ndarray], tuple[ndarray, ndarray]]

#: Largest standard deviations that are tried, one after the other.
REACHES = (8.0, 4.0, 2.0)
#: Of the bits of a dtype: the error that is wanted, relative to the largest value; and the numbers
#: of Chebyshev polynomials of s and of the standard deviation, of a smooth function and of another.
_WANTED = {32: 1e-8, 64: 1e-14}
_COUNTS = {32: ((36, 32), (36, 20)), 64: ((80, 60), (72, 32))}


class Variable(NamedTuple):
    """A variable s in [-1, 1] for the correlation; zero where that is.

    Attributes:
      stretch: kappa of c = tanh(kappa s) / tanh(kappa); None of c = -sin(pi s / 2), for which the
        angle is pi (1 + s) / 2.
    """

    stretch: float | None

    def correlation(self, s: ndarray) -> ndarray:
        """The correlation."""
        if self.stretch is None:
            return -np.sin(np.pi / 2 * s)
        return np.tanh(self.stretch * s) / np.tanh(self.stretch)

    def slope(self, s: ndarray) -> ndarray:
        """Its derivative by s."""
        if self.stretch is None:
            return -np.pi / 2 * np.cos(np.pi / 2 * s)
        return self.stretch / np.cosh(self.stretch * s) ** 2 / np.tanh(self.stretch)

    def rest(self, s: ndarray) -> ndarray:
        """1 - c, which keeps its digits near zero."""
        if self.stretch is None:
            return 2 * np.sin(np.pi / 4 * (1 + s)) ** 2
        k = self.stretch
        return np.sinh(k * (1 - s)) / (np.sinh(k) * np.cosh(k * s))

    @property
    def end(self) -> float:
        """Where the correlation is 1."""
        return -1.0 if self.stretch is None else 1.0


class Expansion(NamedTuple):
    """Coefficients of all that a pair needs.

    Attributes:
      least: the smallest standard deviation for which errors are small against f.
      reach: the largest one.
      variable: s.
      features: the functions e_a by Chebyshev polynomials of
        2 log(1 + r) / log(1 + reach) - 1, `[a, degree]`.
      pairs: of G, int_0^c G / c and int_c^1 G / (1 - c), `[degree of s, which, a, b]`.
      across_features: those of H, `[a, degree]`.
      across: H by these, `[a, b]`.
      mean: m by Chebyshev polynomials, `[degree]`; of an f that is zero at zero, m / r.
      vanishes: whether f is zero at zero.
      tolerance: the error of G.
    """

    least: float
    reach: float
    variable: Variable
    features: ndarray
    pairs: ndarray
    across_features: ndarray
    across: ndarray
    mean: ndarray
    vanishes: bool
    tolerance: float


def expansion_of(sample: Sampler, kinks: tuple[float, ...], bits: int) -> Expansion | None:
    """The expansion of a function, to the rounding errors of a dtype; None if it has none.

    Args:
      sample: f and f' at points.
      kinks: where f or f' is not smooth.
      bits: of the dtype.
    """
    if kinks not in ((), (0.0,)):
        return None
    if kinks and _has_step(sample):
        return None
    for reach in REACHES:
        found = _expansion_within(reach, sample, bool(kinks), bits)
        if found is not None:
            return found
    return None


def _has_step(sample: Sampler) -> bool:
    """Whether f jumps at zero: of that, f' knows nothing."""
    left, right = sample(np.array([-1e-9, 1e-9]))[0]
    size = np.max(np.abs(sample(np.linspace(-1, 1, 33))[0]))
    return bool(abs(right - left) > 1e-6 * size)


def _expansion_within(reach: float, sample: Sampler, kinked: bool, bits: int) -> Expansion | None:
    wanted, (count, degrees) = _WANTED[bits], _COUNTS[bits][kinked]
    variable = Variable(None if kinked else {8.0: 2.0, 4.0: 1.5, 2.0: 1.0}[reach])
    (s, to_s), (q, to_r) = _chebyshev(count), _chebyshev(degrees)
    r = np.expm1(0.5 * (1 + q) * np.log1p(reach))
    values = _kinked_slopes if kinked else _smooth_slopes
    slopes = values(sample, r, s, variable, bits)
    if slopes is None or not np.any(slopes) or not np.all(np.isfinite(slopes)):
        return None
    across, mean, energy = _across(sample, r)
    vanishes = bool(np.all(sample(np.zeros(1))[0] == 0))
    mean, root = (a / r if vanishes else a for a in (mean, np.sqrt(energy)))
    coefficients = np.tensordot(to_s, to_r @ slopes @ to_r.T, 1)
    across = to_r @ across @ to_r.T
    mean = to_r @ mean
    error = wanted * np.max(np.abs(slopes))
    series = [
        (coefficients, 0, error), (coefficients, 1, error),
        (across, 0, wanted * np.max(np.abs(across))), (mean, 0, wanted * np.max(root)),
    ]  # fmt: skip
    if not all(_is_short(*one) for one in series):
        return None
    # How large r must be for E f(u)^2 to be known: that of small r may be far below r^2 G.
    exact = energy > 0.01 * np.max(np.abs(slopes)) * r**2
    least = 0.0 if np.all(exact) else float(1.1 * np.max(r[~exact]))
    if least > reach / 4:
        return None
    features, across_features = _features(coefficients, error), _features(across, error)
    pairs = _with_means(features @ coefficients @ features.T, s, to_s, variable)
    kept = 1 + int(np.max(np.nonzero(np.max(np.abs(pairs), (1, 2, 3)) > 0.05 * error)[0]))
    across = across_features @ across @ across_features.T
    pairs = pairs[:kept]
    return Expansion(
        least, reach, variable, features, pairs, across_features, across, mean, vanishes, 4 * error
    )


def _chebyshev(count: int) -> tuple[ndarray, ndarray]:
    """Nodes, and the matrix from values there to coefficients."""
    degrees = np.arange(count)
    angles = np.pi * (degrees + 0.5) / count
    transform = 2 / count * np.cos(degrees[:, None] * angles)
    transform[0] /= 2
    return np.sin(np.pi / 2 - angles), transform


def _is_short(coefficients: ndarray, axis: int, error: float) -> bool:
    """Whether the last coefficients along an axis are as small as the error that is wanted."""
    last = np.take(coefficients, range(-3, 0), axis)
    return bool(np.max(np.abs(last)) <= error)


def _smooth_slopes(
    sample: Sampler, r: ndarray, s: ndarray, variable: Variable, bits: int
) -> ndarray | None:
    """G at the nodes by the Mehler series, `[s, r1, r2]`; None where that is too long."""
    terms = int({32: 60, 64: 130}[bits] * np.max(r) ** 2) + 60
    x = np.arange(-13.0, 13.0, min(0.05, 2.2 / np.sqrt(2 * terms)))
    b = sample(r[:, None] * x)[1] @ (_hermite_functions(x, terms).T * (x[1] - x[0]))
    if not np.any(b):
        return None
    sizes = np.max(b**2, 0) / np.max(np.sum(b**2, 1))
    if np.sum(sizes[-8:]) > _WANTED[bits]:
        return None
    b = b[:, : 1 + np.max(np.nonzero(sizes > 1e-4 * _WANTED[bits] / terms)[0], initial=0)]
    found = []
    for c in variable.correlation(s):
        some = b[:, : 2 + int(-45 / np.log(min(abs(c) + 1e-9, 1 - 1e-9)))]
        found.append((some * c ** np.arange(some.shape[1])) @ some.T)
    return np.stack(found)


def _hermite_functions(x: ndarray, count: int) -> ndarray:
    """h_k(x) times the density, `[k, x]`."""
    density = np.exp(-0.25 * x**2) / (2 * np.pi) ** 0.25
    found = np.empty((count, len(x)))
    found[0], found[1] = density, x * density
    for k in range(2, count):
        found[k] = (x * found[k - 1] - np.sqrt(k - 1) * found[k - 2]) / np.sqrt(k)
    return found * density


def _panels(edges: ndarray, count: int) -> tuple[ndarray, ndarray]:
    """Gauss-Legendre nodes and weights between edges."""
    x, weight = legendre.leggauss(count)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    return (middle + half * x).ravel(), (half * weight).ravel()


def _kinked_slopes(
    sample: Sampler, r: ndarray, s: ndarray, variable: Variable, bits: int
) -> ndarray:
    """G at the nodes by an integral in polar coordinates, `[s, r1, r2]`.

    u = r1 rho cos(phi) and v = r2 rho cos(phi - theta) change their signs at the ends of two
    sectors of phi, of lengths theta and pi - theta, and of two opposite ones.
    """
    del variable
    count = {32: 7, 64: 12}[bits]
    edges = np.array([0.0, 0.15, 0.5, 1.2, 2.2, 3.5, 5.2, 8.8])
    rho, of_rho = _panels(edges, count)
    of_rho = of_rho * rho * np.exp(-(rho**2) / 2)
    grade = np.array([0.0, 0.06, 0.2, 0.5])
    share, of_share = _panels(np.concatenate([grade, 1 - grade[-2::-1]]), count)
    found = np.zeros((len(s), len(r), len(r)))
    for m, theta in enumerate(np.pi / 2 * (1 + s)):
        # phi = -pi/2 + theta share, and theta - pi/2 + (pi - theta) share.
        cos_u = np.concatenate([np.sin(theta * share), np.sin(theta + (np.pi - theta) * share)])
        cos_v = np.concatenate([
            -np.sin(theta * (1 - share)), np.sin((np.pi - theta) * share)
        ])  # fmt: skip
        of_phi = np.concatenate([theta * of_share, (np.pi - theta) * of_share]) / (2 * np.pi)
        weight = (of_rho[:, None] * of_phi).ravel()
        u, v = (rho[:, None] * cosine for cosine in (cos_u, cos_v))
        for sign in (1, -1):
            of_u, of_v = (sample(r[:, None] * (sign * a.ravel()))[1] for a in (u, v))
            found[m] += (of_u * weight) @ of_v.T
    return found


def _across(sample: Sampler, r: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """H, m and E f(u)^2 at the nodes."""
    grade = np.array([0, 0.03, 0.08, 0.16, 0.3, 0.5, 0.8, 1.2, 1.7, 2.4, 3.2, 4.2, 5.4, 7.0, 9.0])
    half, weight = _panels(grade, 20)
    x, weight = np.concatenate([-half[::-1], half]), np.concatenate([weight[::-1], weight])
    weight = weight * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    value, slope = sample(r[:, None] * x)
    apart = r[:, None] - r
    np.fill_diagonal(apart, 1.0)
    steps = value[:, None] - value
    squares = steps**2 @ weight / apart**2
    np.fill_diagonal(squares, ((x * slope) ** 2) @ weight)
    return squares, value @ weight, value**2 @ weight


def _with_means(slopes: ndarray, s: ndarray, to_s: ndarray, variable: Variable) -> ndarray:
    """Coefficients of G and of its means over [0, c] and [c, 1], `[degree of s, which, r1, r2]`."""
    count = len(s)
    nodes, weights = legendre.leggauss(count + 16)

    def integrals(start: ndarray, end: ndarray) -> ndarray:
        """The integrals of T_k dc from each start to its end, `[node, k]`."""
        half, middle = (end - start)[:, None] / 2, (end + start)[:, None] / 2
        at = middle + half * nodes
        polynomials = chebyshev.chebvander(at, count - 1)
        return np.einsum("nx,nxk->nk", half * weights * variable.slope(at), polynomials)

    zero, end = np.zeros_like(s), np.full_like(s, variable.end)
    inner = to_s @ (integrals(zero, s) / variable.correlation(s)[:, None])
    outer = to_s @ (integrals(s, end) / variable.rest(s)[:, None])
    return np.stack([slopes, *(np.tensordot(a, slopes, 1) for a in (inner, outer))], 1)


def _features(coefficients: ndarray, error: float) -> ndarray:
    """Orthogonal combinations of the last axis, `[a, degree]`; they lose less than the error."""
    degrees = coefficients.shape[-1]
    triangle = np.linalg.qr(coefficients.reshape(-1, degrees), mode="r")
    _, values, rows = np.linalg.svd(triangle)
    return rows[: max(1, int(np.sum(values > 0.3 * error)))]
