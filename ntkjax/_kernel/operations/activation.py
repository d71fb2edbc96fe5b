"""What a nonlinearity needs to know of its function: the dual activation, pointwise.

`ntkjax._activations` implements it; it knows nothing of layouts or batches.
"""

from typing import Any, NamedTuple, Protocol

from jax import Array

from ntkjax._kernel.algebra.pairs import Pairs, added


class Activation(Protocol):
    """The dual of a scalar function f, pointwise; knows nothing of layouts or batches.

    Attributes:
      is_nonnegative: whether f is, so that its outputs have no negative covariance.
      is_homogeneous: whether f(a x) = a f(x) for all a > 0.
      growth: the degree k of f at infinity: f(a x) is about a^k f(x) for large x.

    One that is not homogeneous may say `is_uniform = True`: `far` is then as good for points that
    are alike, and is asked of all pairs, so that one form is compiled, not two. It needs no
    `steepness`. One that says `takes_supplement = False` is never given E (u + v)^2; all others
    are `SupplementedActivation`s.
    """

    @property
    def is_nonnegative(self) -> bool: ...

    @property
    def is_homogeneous(self) -> bool: ...

    @property
    def growth(self) -> int: ...

    def variance(self, var: Array) -> Array:
        """E f(u)^2 for u of variance `var`."""
        ...

    def point(self, var: Array) -> Any:
        """Whatever `pair` needs of a point of variance `var`, as a tuple of arrays."""
        ...

    def pair(
        self,
        first: Any,
        second: Any,
        distance: Array,
        *,
        supplement: Array | None = None,
        acute: bool = False,
    ) -> "DualPair":
        """The expectations over a pair with E (u - v)^2 = `distance`.

        `supplement` is E (u + v)^2, where it is known; `acute` says that no covariance is negative.
        """
        ...


class SupplementedActivation(Activation, Protocol):
    """One that makes use of E (u + v)^2."""

    def wants_supplement(self, first: Any, second: Any, distance: Array) -> Array:
        """For which pairs E (u + v)^2 would add digits: those that are nearly opposite."""
        ...


class DifferentiatedActivation(Activation, Protocol):
    """One that writes its own derivatives, where E (u + v)^2 is not known.

    Autodiff of `pair` gives the same, in many more passes over the pairs.
    """

    def transform(
        self, first: Any, second: Any, given: Pairs, *, is_excess: bool, acute: bool
    ) -> Pairs:
        """The pairs after f; `is_excess` says that a tangent kernel is one over the covariance."""
        ...


class ScaledActivation(Activation, Protocol):
    """The dual of a function that is not positively homogeneous.

    Attributes:
      steepness: t, where E f(u) f(v) or E f'(u) f'(v) of two large points is a function of t D that
        is steep, however large t D is; zero where there is none.
    """

    @property
    def steepness(self) -> Any: ...

    def cap(self, dtype: Any) -> Any:
        """A standard deviation so large that f is its limit at infinity to a rounding error.

        None where f(a x) = a^k f(x) for all a > 0, with k the growth.
        """
        ...

    def far(
        self, first: Any, second: Any, covariance: Array, *, rest: Array | None = None
    ) -> "FarPair":
        """The expectations over a pair that may differ much in size.

        `covariance` is K = E u v, and `rest` is r1 r2 - |K| of the standard deviations.
        """
        ...


class DualPair(NamedTuple):
    """What a nonlinearity f makes of a pair (u, v) of Gaussians."""

    distance: Array  # E (f(u) - f(v))^2
    slope: Array  # E f'(u) f'(v)
    covariance: Array  # E u v, of the pair itself


class FarPair(NamedTuple):
    """What a nonlinearity f makes of a pair (u, v) of Gaussians, which may differ much in size."""

    covariance: Array  # E f(u) f(v), relative to the sizes of both
    slope: Array  # E f'(u) f'(v)
    distance: Array | None  # E (f(u) - f(v))^2, relative to itself where u and v are alike


def transformed(dual: DualPair, given: Pairs, is_excess: bool) -> Pairs:
    """The pairs after a nonlinearity of given expectations."""
    ntk = added(given.ntk, dual.covariance) if is_excess else given.ntk
    return Pairs(dual.distance, None if ntk is None else ntk * dual.slope)
