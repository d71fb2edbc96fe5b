r"""Any function f, by quadrature that knows where f has kinks and steps.

A pair is written as a Gaussian u and what v adds to it,

    u = r1 x,    v = b u + s y,    b = c r2 / r1,    s = r2 sin(theta),

of independent standard Gaussians x and y, with c = cos(theta) and the larger variance first. All
expectations are integrals over x and y of functions that are smooth between the edges of f (its
kinks and steps, and points between which it is a polynomial to a rounding error, see
`ntkjax._activations.pieces`). In y, given x, the edges t lie at (t - b u) / s. The integral over y
is a function of x with edges at t / r1, and with edges at t / b that are blurred by s. Each
interval between two edges takes a Gauss-Legendre rule.

The distance is the integral of (f(u) - f(v))^2 itself: near-equal points, for which s is small and
b near 1, keep their digits. Nothing is different where points are equal or opposite (s = 0), or
where one is zero. Derivatives are those of the rule, edges included; in the direction of s^2, of
which s is the root, they count as zero where s is.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike

from ntkjax._activations.forward import forwards
from ntkjax._activations.linear_pieces import LinearPieces, inner_moments
from ntkjax._activations.moments import Moments
from ntkjax._activations.pieces import Pieces
from ntkjax._activations.scalar_function import ACCURACY, ScalarFunction
from ntkjax._kernel.algebra.roots import clipped, safe_sqrt


class Rule(NamedTuple):
    """How finely to integrate."""

    count: int  # nodes of an interval
    reach: float  # beyond so many standard deviations, nothing is left

    @classmethod
    def of(cls, dtype: DTypeLike) -> "Rule":
        """As finely as the dtype can tell."""
        bits = jnp.finfo(dtype).bits
        return cls(ACCURACY[bits][0], {32: 6.0, 64: 8.5}[bits])

    def coarser(self) -> "Rule":
        """One whose difference from this one bounds the error of this one."""
        return Rule(self.count - 3, self.reach)

    @property
    def widths(self) -> tuple[float, ...]:
        """Edges that resolve the density of a Gaussian."""
        return (-self.reach, -4.0, -1.5, 1.5, 4.0, self.reach)

    def legendre(self, dtype: DTypeLike, ndim: int) -> tuple[Array, Array]:
        """Nodes and weights on [0, 1], before `ndim` axes."""
        nodes, weights = np.polynomial.legendre.leggauss(self.count)
        shape = (self.count,) + (1,) * ndim
        nodes, weights = (nodes + 1) / 2, weights / 2
        return jnp.asarray(nodes.reshape(shape), dtype), jnp.asarray(weights.reshape(shape), dtype)


class _Turn(NamedTuple):
    """A pair, the larger point first."""

    std: Array  # r1
    slope: Array  # b
    rest: Array  # s


def _edge(numerator: Array, denominator: Array, reach: float) -> Array:
    """The quotient, within the reach; denominators of no size put it at the end."""
    inside = jnp.abs(numerator) < reach * jnp.abs(denominator)
    quotient = numerator / jnp.where(inside, denominator, 1.0)
    end = jnp.where((numerator < 0) == (denominator < 0), reach, -reach)
    return jnp.where(inside, quotient, end.astype(quotient.dtype))


def _density(x: Array) -> Array:
    return jnp.exp(-0.5 * jnp.square(x)) * (2 * np.pi) ** -0.5


def _integral(edges: Array, rule: Rule, integrand: Callable[[Array], Any], like: Any) -> Any:
    """The sum over all intervals between sorted edges; empty intervals cost nothing.

    `integrand` takes nodes, `[node, ...]`, and returns arrays of that shape.
    """
    nodes, weights = rule.legendre(edges.dtype, edges.ndim - 1)

    def of_interval(total: Any, ends: tuple[Array, Array]) -> tuple[Any, None]:
        start, end = ends

        def full(total: Any) -> Any:
            x = start[None] + (end - start)[None] * nodes
            weight = (end - start)[None] * weights * _density(x)
            return jax.tree.map(lambda t, f: t + jnp.sum(weight * f, 0), total, integrand(x))

        return lax.cond(jnp.any(end > start), full, lambda total: total, total), None

    total, _ = lax.scan(of_interval, like, (edges[:-1], edges[1:]))
    return total


def pair_moments(
    function: ScalarFunction,
    pieces: Pieces,
    rule: Rule,
    first: Array,
    second: Array,
    rest: Array,
    other: Array,
    lines: LinearPieces | None = None,
) -> Moments:
    """The expectations of pairs, by the rule.

    Args:
      function: f.
      pieces: between which edges it is smooth.
      rule: how finely to integrate.
      first: standard deviations r1, `[...]`.
      second: standard deviations r2.
      rest: r1 r2 - K.
      other: r1 r2 + K.
      lines: f, if it is linear between its kinks; the integral over y is then a formula.
    """
    arrays = jnp.broadcast_arrays(first, second, rest, other)
    return forwards(functools.partial(_pair_moments, function, pieces, rule, lines))(*arrays)


def _pair_moments(
    function: ScalarFunction,
    pieces: Pieces,
    rule: Rule,
    lines: LinearPieces | None,
    *arrays: Array,
) -> Moments:
    turn = _turn(*arrays)

    def given(x: Array) -> Moments:
        u = turn.std * x
        of_u, slope_u = function.with_slope(u)
        mean = turn.slope * u

        def integrand(y: Array) -> Moments:
            of_v, slope_v = function.with_slope(mean[None] + turn.rest[None] * y)
            step = of_u[None] - of_v
            return Moments(of_u[None] * of_v, jnp.square(step), slope_u[None] * slope_v)

        if lines is not None:
            at = _edge(_stacked(lines.kinks, u) - mean[None], turn.rest[None], rule.reach)
            return inner_moments(lines, of_u, slope_u, mean, turn.rest, at)
        inner = _edge(_stacked(pieces.edges, u) - mean[None], turn.rest[None], rule.reach)
        return _integral(_sorted(inner, rule, u), rule, integrand, _zeros(u))

    if lines is not None:
        pieces = Pieces(lines.kinks, lines.kinks)
    sharp = _edge(_stacked(pieces.edges, turn.std), turn.std[None], rule.reach)
    edges, away = (_stacked(part, turn.std) for part in _blurred(pieces))
    onto = (turn.slope * turn.std)[None]
    outer = jnp.concatenate([sharp, _edge(edges + away * turn.rest[None], onto, rule.reach)])
    nodes = functools.partial(lax.map, given)
    return _integral(_sorted(outer, rule, turn.std), rule, nodes, _zeros(turn.std))


def _blurred(pieces: Pieces) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Edges of f after it is blurred by s: edges t, and how many s away from them.

    A blurred kink is smooth, but as narrow as s. So is what the edges have between them, if it is
    narrower than s: it is seen from outside as one.
    """
    edges = [(t, 0.0) for t in pieces.edges]
    ends = [(pieces.edges[0], -1), (pieces.edges[-1], 1)] if pieces.edges else []
    edges += [(t, sign * away) for t, sign in ends for away in (3.0, 8.0)]
    edges += [(t, away) for t in pieces.kinks for away in (-8.0, -3.0, 3.0, 8.0)]
    edges = sorted(set(edges))
    return tuple(t for t, _ in edges), tuple(away for _, away in edges)


def point_moments(
    function: ScalarFunction, pieces: Pieces, rule: Rule, std: Array
) -> tuple[Array, Array]:
    """E f(u)^2 and E f'(u)^2 of a Gaussian of this standard deviation."""
    return point_expectations(function, pieces, rule, std, _squares)


def _squares(x: Array, value: Array, slope: Array) -> tuple[Array, Array]:
    del x
    return jnp.square(value), jnp.square(slope)


def point_expectations(
    function: ScalarFunction,
    pieces: Pieces,
    rule: Rule,
    std: Array,
    of: Callable[[Array, Array, Array], Any],
) -> Any:
    """The expectations of what `of` makes of x, f(std x) and f'(std x), x a standard Gaussian."""

    def expectations(std: Array) -> Any:
        def integrand(x: Array) -> Any:
            return of(x, *function.with_slope(std[None] * x))

        edges = _edge(_stacked(pieces.edges, std), std[None], rule.reach)
        like = jax.tree.map(jnp.zeros_like, jax.eval_shape(of, std, std, std))
        return _integral(_sorted(edges, rule, std), rule, integrand, like)

    return forwards(expectations)(std)


def _zeros(like: Array) -> Moments:
    return Moments(*[jnp.zeros_like(like)] * 3)


def _stacked(numbers: tuple[float, ...], like: Array) -> Array:
    """Numbers `[number, ...]` for each entry of an array."""
    column = jnp.asarray(np.reshape(numbers, (-1,) + (1,) * like.ndim), like.dtype)
    return jnp.broadcast_to(column, (len(numbers), *like.shape))


def _sorted(edges: Array, rule: Rule, like: Array) -> Array:
    """These edges and those of the density, `[edge, ...]`."""
    return jnp.sort(jnp.concatenate([_stacked(rule.widths, like), edges]), axis=0)


def _turn(first: Array, second: Array, rest: Array, other: Array) -> _Turn:
    """The larger point, and what the smaller adds to it."""
    swapped = second > first
    r1, r2 = jnp.where(swapped, second, first), jnp.where(swapped, first, second)
    product = r1 * r2
    positive = product > 0
    inverse = 1 / jnp.where(positive, product, 1.0)
    near = jnp.where(positive, clipped(rest * inverse, 2.0), 1.0)
    far = jnp.where(positive, clipped(other * inverse, 2.0), 1.0)
    cosine = jnp.where(near < 1, 1 - near, far - 1)
    ratio = r2 / jnp.where(r1 > 0, r1, 1.0)
    return _Turn(r1, cosine * ratio, r2 * safe_sqrt(near * far))
