r"""The activation of any function f, by whatever computes its expectations fastest.

Where all points of a block have standard deviations within the reach of the expansion of the dual
(see `ntkjax._activations.expansion`), that is some hundred multiplications for a pair. Everywhere
else, and of an f that has no expansion, it is the integral in two dimensions of
`ntkjax._activations.quadrature`, some thousand times slower.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike

from ntkjax._activations.angle import Deviation, nearly_opposite
from ntkjax._activations.expanded import expanded_moments, within
from ntkjax._activations.moments import Moments
from ntkjax._activations.pieces import Pieces
from ntkjax._activations.quadrature import Rule, pair_moments, point_moments
from ntkjax._activations.scalar_function import ScalarFunction
from ntkjax._kernel.algebra.operation import operation, static
from ntkjax._kernel.algebra.roots import safe_sqrt
from ntkjax._kernel.operations.activation import DualPair, FarPair


class _Point(NamedTuple):
    var: Array
    deviation: Deviation

    @property
    def std(self) -> Array:
        return self.deviation.std


@operation
class Quadrature:
    """Any function, by the rule of its dtype.

    Attributes:
      function: f.
      name: of its layer, for messages.
      is_nonnegative: whether f is.
      degree: k, if f(a x) grows as a^k for large x; None if it is not known.
    """

    function: ScalarFunction = static()
    name: str = static()
    is_nonnegative: bool = static(default=False)
    degree: int | None = static(default=None)

    is_homogeneous = False
    is_uniform = True

    @property
    def growth(self) -> int:
        """The degree at infinity."""
        return self.degree or 0

    def cap(self, dtype: DTypeLike) -> float:
        """Where squares come near the largest number of the dtype, if f is known there."""
        return np.inf if self.degree is None else float(jnp.finfo(dtype).max) ** 0.48

    def variance(self, var: Array) -> Array:
        """E f(u)^2."""
        return self._of_point(safe_sqrt(var), Rule.of(var.dtype))[0]

    def _of_point(self, std: Array, rule: Rule) -> tuple[Array, Array]:
        return point_moments(self.function, self._pieces(std), rule, std)

    def _pieces(self, like: Array) -> Pieces:
        return self.function.pieces(self.name, like.dtype)

    def point(self, var: Array) -> _Point:
        """Variance and standard deviation."""
        return _Point(var, Deviation.of(var))

    def wants_supplement(self, first: _Point, second: _Point, distance: Array) -> Array:
        """Whether E (u + v)^2 would add digits: the pair is nearly opposite."""
        return nearly_opposite(first.deviation, second.deviation, distance)

    def pair(
        self,
        first: _Point,
        second: _Point,
        distance: Array,
        *,
        supplement: Array | None = None,
        acute: bool = False,
    ) -> DualPair:
        """The expectations of a pair."""
        del acute
        product, across = first.std * second.std, jnp.square(first.std - second.std)
        rest = _positive(0.5 * (distance - across))
        other = 2 * product - rest
        if supplement is not None:
            other = jnp.where(rest > product, _positive(0.5 * (supplement - across)), other)
        made = self._moments(first.std, second.std, rest, other)
        return DualPair(made.distance, made.slope, 0.5 * (first.var + second.var - distance))

    def _of_pair(
        self, first: Array, second: Array, rest: Array, other: Array, rule: Rule
    ) -> Moments:
        pieces, lines = self._pieces(rest), self.function.lines(self.name, rest.dtype)
        arrays = first, second, rest, other
        return pair_moments(self.function, pieces, rule, *arrays, lines=lines)

    def _moments(self, first: Array, second: Array, rest: Array, other: Array) -> Moments:
        """The expectations of a pair, of arrays that broadcast."""
        rule, arrays = Rule.of(rest.dtype), (first, second, rest, other)
        expansion = self.function.expansion(self.name, rest.dtype)
        if expansion is None:
            return self._of_pair(*arrays, rule)
        is_within = within(expansion, first, second)
        # Under `vmap`, both branches run: none may overflow.
        inside = [jnp.where(is_within, array, 1.0) for array in arrays]
        return lax.cond(
            is_within,
            lambda: expanded_moments(expansion, *inside),
            lambda: self._of_pair(*arrays, rule),
        )

    def far(
        self, first: _Point, second: _Point, covariance: Array, *, rest: Array | None = None
    ) -> FarPair:
        """The expectations of a pair; `rest` is r1 r2 - |K|, for the digits of parallel points."""
        product, size = first.std * second.std, jnp.abs(covariance)
        least = _positive(product - size) if rest is None else rest
        most = product + size
        is_acute = covariance > 0
        near, far = jnp.where(is_acute, least, most), jnp.where(is_acute, most, least)
        made = self._moments(first.std, second.std, near, far)
        return FarPair(made.covariance, made.slope, made.distance)

    def error(self, cov12: Array, var1: Array, var2: Array) -> tuple[Array, Array]:
        """Bounds of the errors of E f(u) f(v) and E f'(u) f'(v).

        The difference from a rule with three nodes less in each interval, which is far less exact;
        that of the expansion from the rule; what lies beyond the reach of the rule, as if the rest
        were as large as it is there; and the rounding errors of the sums.
        """
        r1, r2 = jnp.sqrt(var1), jnp.sqrt(var2)
        product, rule = r1 * r2, Rule.of(cov12.dtype)
        arguments = r1, r2, _positive(product - cov12), _positive(product + cov12)
        fine, coarse = (self._of_pair(*arguments, r) for r in (rule, rule.coarser()))
        expansion, expanded = self.function.expansion(self.name, cov12.dtype), None
        if expansion is not None:
            expanded = expanded_moments(expansion, *arguments)
            is_expanded = within(expansion, r1, r2)
        ends = rule.reach * jnp.asarray([-1.0, 1.0], cov12.dtype)
        ends = ends.reshape((2,) + (1,) * cov12.ndim)
        left = 2 * rule.reach * float(np.exp(-(rule.reach**2) / 2))
        stds, bounds = (r1, r2), []
        sizes = [self._of_point(std, rule) for std in stds]
        at_ends = [self.function.with_slope(std[None] * ends) for std in stds]
        for i, name in enumerate(("covariance", "slope")):
            difference = jnp.abs(getattr(fine, name) - getattr(coarse, name))
            if expanded is not None:
                apart = jnp.abs(getattr(expanded, name) - getattr(fine, name))
                difference = difference + jnp.where(is_expanded, apart, 0.0)
            most = [jnp.max(jnp.abs(both[i]), 0) for both in at_ends]
            size = jnp.sqrt(sizes[0][i] * sizes[1][i])
            rounding = 32 * float(jnp.finfo(cov12.dtype).eps) * size
            bounds.append(difference + left * most[0] * most[1] + rounding)
        return bounds[0], bounds[1]


def _positive(x: Array) -> Array:
    """Zero where x is below it by a rounding error, which leaves the derivatives as they are."""
    return jnp.where(x < 0, x - lax.stop_gradient(x), x)
