r"""Activations of which only the covariance E f(u) f(v) is known.

Such an activation is one function of a pair, in the order of `nngp_fn` of `stax.Elementwise`,

    F(K, v1, v2) = E f(u) f(v),

and everything else follows:

    E f(u)^2          = F(v, v, v),
    E (f(u) - f(v))^2 = F(v1, v1, v1) + F(v2, v2, v2) - 2 F(K, v1, v2),
    E f'(u) f'(v)     = dF / dK        (Price 1958, "A useful theorem for nonlinear devices").

The price: the second line is a difference of numbers of the size of E f^2. It is known to a
rounding error of E f^2, not of itself, so near-equal points lose digits in float32, as in a library
that carries covariances (about 1e-3 of the tangent kernel for points at a relative distance of
1e-3).
An activation for which the distance has a form without this difference should say that form.

A formula may have no value or no derivative where points are equal, opposite or zero:
arcsin(K / sqrt(v1 v2)) has an infinite derivative at K = v1 = v2, and no value at zero. It is
therefore asked a little inside of these corners only, at

    |K| <= (1 - 4 eps) sqrt(v1 v2)    and    v >= tiny^0.3,

with eps the rounding error and tiny the smallest normal number of the dtype. Derivatives are those
of the formula there: finite, and for a formula that is smooth at the corner, right. Those by a
variance that is zero count as zero.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike

from ntkjax._kernel.operations.activation import DualPair, FarPair


class _Point(NamedTuple):
    var: Array  # at least the least one
    energy: Array  # E f(u)^2


def _moved(value: Array, bounded: Array) -> Array:
    """The bounded value, with the derivatives of the value."""
    return value + lax.stop_gradient(bounded - value)


def _inside(var: Array) -> Array:
    """A variance that is not zero; a constant to derivatives where it was."""
    least = float(jnp.finfo(var.dtype).tiny) ** 0.3
    return jnp.where(var > least, var, least)


class CovarianceActivation:
    """Base class of an activation that knows E f(u) f(v) alone: it falls back to covariances.

    A subclass, decorated by `operation`, defines `nngp_fn`, and `d_nngp_fn` where it knows better
    than the derivative of `nngp_fn`. Near-equal points keep the digits of a covariance, not those
    of a distance (see the first lines of this file).
    """

    is_nonnegative = False
    is_homogeneous = False
    is_uniform = True
    takes_supplement = False  # a covariance gains nothing by it
    growth = 0

    def nngp_fn(self, cov12: Array, var1: Array, var2: Array) -> Array:
        """E f(u) f(v), of arrays of one shape; any pair that is neither parallel nor zero."""
        raise NotImplementedError

    def d_nngp_fn(self, cov12: Array, var1: Array, var2: Array) -> Array:
        """E f'(u) f'(v): the derivative of `nngp_fn` by the covariance."""
        _, slope = jax.jvp(lambda c: self.nngp_fn(c, var1, var2), (cov12,), (jnp.ones_like(cov12),))
        return slope

    def cap(self, dtype: DTypeLike) -> float:
        """No point counts as infinitely large, since nothing is known of f there."""
        del dtype
        return np.inf

    def variance(self, var: Array) -> Array:
        """F(v, v, v)."""
        return self.point(var).energy

    def point(self, var: Array) -> _Point:
        """The variance, and that of f(u)."""
        var = _inside(var)
        return _Point(var, self._nngp(var, var, var))

    def pair(
        self,
        first: _Point,
        second: _Point,
        distance: Array,
        *,
        supplement: Array | None = None,
        acute: bool = False,
    ) -> DualPair:
        """The expectations of a pair, by its covariance."""
        del supplement, acute
        covariance = 0.5 * (first.var + second.var - distance)
        made = self.far(first, second, covariance)
        assert made.distance is not None
        return DualPair(made.distance, made.slope, covariance)

    def far(
        self, first: _Point, second: _Point, covariance: Array, *, rest: Array | None = None
    ) -> FarPair:
        """The expectations of a pair whose K = E u v is `covariance`."""
        del rest
        var1, var2 = jnp.broadcast_to(first.var, covariance.shape), second.var
        var2 = jnp.broadcast_to(var2, covariance.shape)
        cov = self._nngp(covariance, var1, var2)
        slope = self.d_nngp_fn(_not_parallel(covariance, var1, var2), var1, var2)
        distance = first.energy + second.energy - 2 * cov
        return FarPair(cov, slope, _moved(distance, jnp.maximum(distance, 0.0)))

    def _nngp(self, covariance: Array, var1: Array, var2: Array) -> Any:
        return self.nngp_fn(_not_parallel(covariance, var1, var2), var1, var2)


def _not_parallel(covariance: Array, var1: Array, var2: Array) -> Array:
    """A covariance between points that are neither parallel nor opposite."""
    margin = 1 - 4 * float(jnp.finfo(covariance.dtype).eps)
    most = margin * (jnp.sqrt(var1) * jnp.sqrt(var2))
    return _moved(covariance, jnp.clip(covariance, -most, most))
