r"""Functions that are linear between kinks, as the hard tanh: one integral has a closed form.

Of v = m + s y, with y a standard Gaussian, and f(v) = alpha + beta v between two kinks,

    E f(v), E (a - f(v))^2 and E f'(v)

are sums over the intervals of moments of y between z = (t - m) / s of one kink t and of the next,

    E 1 = Phi(z),    E y = -phi(z),    E y^2 = Phi(z) - z phi(z)    up to z.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import erf
from numpy import ndarray

from ntkjax._activations.moments import Moments
from ntkjax._activations.pieces import Pieces, Sampler


class LinearPieces(NamedTuple):
    """Lines between kinks, from left to right.

    Attributes:
      kinks: where one line ends and the next one starts.
      intercepts: alpha of each line.
      slopes: beta of each line.
    """

    kinks: tuple[float, ...]
    intercepts: tuple[float, ...]
    slopes: tuple[float, ...]


def linear_pieces_of(sample: Sampler, pieces: Pieces) -> LinearPieces | None:
    """The lines of a function with these pieces; None if they are no lines."""
    if not 0 < len(pieces.edges) <= 8:
        return None
    kinks = np.asarray(pieces.edges)
    ends = np.concatenate([[kinks[0] - 64.0], kinks, [kinks[-1] + 64.0]])
    share = np.array([0.03, 0.2, 0.5, 0.77, 0.98])
    points = ends[:-1, None] + np.diff(ends)[:, None] * share
    values, slopes = (np.reshape(a, points.shape) for a in sample(points.ravel()))
    middle: ndarray = slopes[:, 2]
    intercepts = values[:, 2] - middle * points[:, 2]
    lines = intercepts[:, None] + middle[:, None] * points
    if not np.allclose(lines, values, rtol=1e-13, atol=1e-13):
        return None
    return LinearPieces(pieces.edges, tuple(intercepts.tolist()), tuple(middle.tolist()))


def inner_moments(
    lines: LinearPieces, of_u: Array, slope_u: Array, mean: Array, std: Array, edges: Array
) -> Moments:
    """The expectations over v, given u.

    Args:
      lines: f.
      of_u: f(u).
      slope_u: f'(u).
      mean: m.
      std: s.
      edges: z of each kink, `[kink, ...]`.
    """
    below = 0.5 + 0.5 * erf(2**-0.5 * edges)
    density = jnp.exp(-0.5 * jnp.square(edges)) * (2 * np.pi) ** -0.5
    zero, one = jnp.zeros_like(mean), jnp.ones_like(mean)
    upto = [(zero, zero, zero)]
    upto += [(c, -p, c - z * p) for c, p, z in zip(below, density, edges, strict=True)]
    upto += [(one, zero, one)]
    value, distance, slope = zero, zero, zero
    for i, (alpha, beta) in enumerate(zip(lines.intercepts, lines.slopes, strict=True)):
        count, first, second = (b - a for a, b in zip(upto[i], upto[i + 1], strict=True))
        at_mean, change = alpha + beta * mean, beta * std
        apart = of_u - at_mean
        of_v = at_mean * count + change * first
        square = apart * (apart * count - 2 * change * first) + jnp.square(change) * second
        if 0 < i < len(lines.kinks):
            line = alpha, beta, lines.kinks[i - 1], lines.kinks[i]
            made = count, of_v, square
            count, of_v, square = _mended(made, line, of_u, std, edges[i - 1], edges[i])
        value += of_v
        distance += square
        slope += beta * count
    return Moments(of_u * value, distance, slope_u * slope)


def _mended(
    made: tuple[Array, ...],
    line: tuple[float, float, float, float],
    of_u: Array,
    std: Array,
    start: Array,
    end: Array,
) -> tuple[Array, ...]:
    """E 1, E f(v) and E (a - f(v))^2 over an interval, where it is narrow against s.

    There the moments cancel: a few nodes do not. As a rule no interval is narrow, and none is made.
    """
    alpha, beta, low, high = line
    is_narrow = std > high - low

    def narrow() -> tuple[Array, ...]:
        nodes, weights = _legendre(std)
        width = end - start
        step = width[None] * nodes
        share = weights * width[None] * jnp.exp(-0.5 * jnp.square(start[None] + step))
        share *= (2 * np.pi) ** -0.5
        found = alpha + beta * jnp.minimum(low + std[None] * step, high)
        sums = share, share * found, share * jnp.square(of_u[None] - found)
        exact = (jnp.sum(terms, 0) for terms in sums)
        return tuple(jnp.where(is_narrow, a, b) for a, b in zip(exact, made, strict=True))

    return lax.cond(jnp.any(is_narrow), narrow, lambda: made)


def _legendre(like: Array) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on [0, 1], in front of the axes of an array."""
    x, weight = np.polynomial.legendre.leggauss(8)
    shape = (-1,) + (1,) * like.ndim
    nodes, weights = (jnp.asarray(0.5 * a, like.dtype).reshape(shape) for a in (1 + x, weight))
    return nodes, weights
