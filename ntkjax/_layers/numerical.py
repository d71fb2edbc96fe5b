"""Nonlinearities of a function that the user gives, with or without its expectations."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from ntkjax._activations.covariances import CovarianceActivation
from ntkjax._activations.gauss_hermite import GaussHermite
from ntkjax._activations.hermite_series import LARGEST, HermiteSeries
from ntkjax._activations.integrated import Quadrature
from ntkjax._activations.scalar_function import ScalarFunction, check_pair_function
from ntkjax._kernel.algebra.errors import UnsupportedError
from ntkjax._kernel.algebra.operation import operation, static
from ntkjax._kernel.arrays import default_float
from ntkjax._layers.checks import check_count, check_flag
from ntkjax._layers.elementwise import elementwise
from ntkjax._layers.layer import Layer

Number = Callable[[Any], Any]
OfPair = Callable[[Any, Any, Any], Any]


@operation
class Formula(CovarianceActivation):
    """What a user knows of an activation: E f f, and perhaps E f' f'."""

    nngp: OfPair = static()
    d_nngp: OfPair | None = static(default=None)

    def nngp_fn(self, cov12: Array, var1: Array, var2: Array) -> Array:
        """E f(u) f(v), of arrays."""
        return _vectorized(self.nngp, cov12, var1, var2)

    def d_nngp_fn(self, cov12: Array, var1: Array, var2: Array) -> Array:
        """E f'(u) f'(v), of arrays."""
        if self.d_nngp is None:
            return super().d_nngp_fn(cov12, var1, var2)
        return _vectorized(self.d_nngp, cov12, var1, var2)


def _vectorized(fn: OfPair, *arrays: Array) -> Array:
    return jnp.vectorize(lambda *numbers: jnp.asarray(fn(*numbers)).astype(arrays[0].dtype))(
        *arrays
    )


def Elementwise(
    fn: Number | None = None,
    nngp_fn: OfPair | None = None,
    d_nngp_fn: OfPair | None = None,
    *,
    series_degree: int | None = None,
) -> Layer:
    r"""Any function of each activation, by its expectations or by quadrature.

    .. math::
        K' = E f(u) f(v), \qquad \Theta' = \Theta\, E f'(u) f'(v),

    of Gaussians u, v of variances v1, v2 and covariance K. With `nngp_fn` these are
    `nngp_fn(K, v1, v2)` and `d_nngp_fn(K, v1, v2)`, or the derivative of the former by K. The
    distance of two outputs is then a difference of covariances: near-equal points keep the digits
    of a covariance, not those of a distance, as the other layers do.

    Without `nngp_fn` both are integrals, with a rule that knows the kinks and steps of `fn`: they
    are found when the layer is made, by looking at the values of `fn`. The integral of
    (f(u) - f(v))^2 is taken itself, so that near-equal points keep their digits. The derivative is
    that of autodiff, for which a step is flat. Errors are near 1e-12 in float64 and 1e-6 in
    float32, relative to sqrt(K11 K22); `ntkjax.dual(fn).error` bounds them for given pairs.

    Where `fn` is smooth, or has its only kink at zero, and all standard deviations r of a block are
    at most some number from 2 to 8, the integrals are expanded in polynomials of both r and of the
    correlation once and for all, which takes a second; a pair then takes less than a microsecond.
    Lines between kinks take some microseconds. Everything else takes from 0.1 ms (one kink,
    float32) to a few ms (float64) for a pair: give `nngp_fn` where you know it.

    Args:
      fn: a function R -> R, written with `jax.numpy`; None leaves the finite network undefined.
      nngp_fn: `(cov12, var1, var2)` -> E f(u) f(v), of numbers.
      d_nngp_fn: `(cov12, var1, var2)` -> E f'(u) f'(v), of numbers.
      series_degree: the last degree of the Hermite series, from 1 to 64; None for exact integrals.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: neither `fn` nor `nngp_fn` is given, or `d_nngp_fn` without `nngp_fn`, or
        `series_degree` with it or out of range; a function does not return one number; `fn` has
        too many kinks, steps or wiggles to be integrated; when called, the input is not Gaussian.
      TypeError: a function cannot be called with numbers that JAX traces.
      NotImplementedError: when `apply_fn` is called, and `fn` is None.

    Source: Price 1958; Han et al. 2022, arXiv 2209.04121.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> square = stax.Elementwise(jnp.square, lambda k, v1, v2: v1 * v2 + 2 * k**2)
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), square)
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      3.0
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Elementwise(jnp.square))
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      3.0
    """
    if fn is None and nngp_fn is None:
        raise UnsupportedError(
            "Elementwise: neither fn nor nngp_fn is given, so the layer would do nothing; give fn, "
            "the function, or nngp_fn, its expectation (cov12, var1, var2) -> E fn(u) fn(v)."
        )
    if nngp_fn is None and d_nngp_fn is not None:
        raise ValueError(
            "Elementwise: d_nngp_fn is given without nngp_fn; give both, or neither for quadrature."
        )
    function = None if fn is None else ScalarFunction(fn).checked("Elementwise")
    degree = _series_degree(series_degree, nngp_fn)
    if nngp_fn is None:
        assert function is not None
        function.pieces("Elementwise", default_float())
        activation = Quadrature(function, "Elementwise")
        if degree is not None:
            activation = HermiteSeries(function, "Elementwise", degree)
    else:
        check_pair_function("Elementwise", "nngp_fn", nngp_fn)
        if d_nngp_fn is not None:
            check_pair_function("Elementwise", "d_nngp_fn", d_nngp_fn)
        activation = Formula(nngp_fn, d_nngp_fn)
    name = _name_of(fn if fn is not None else nngp_fn)
    return elementwise("Elementwise", name, activation, function or _no_function)


def _series_degree(degree: Any, nngp_fn: Any) -> int | None:
    """The degree of a series; None for no series."""
    if degree is None:
        return None
    if nngp_fn is not None:
        raise ValueError(
            "Elementwise: series_degree is given with nngp_fn, which needs no series; give one of "
            "them."
        )
    count = check_count("Elementwise", "series_degree", degree)
    if count > LARGEST:
        raise ValueError(
            f"Elementwise: series_degree={count}, expected at most {LARGEST}; leave it out for "
            "exact integrals."
        )
    return count


def _no_function(x: Array) -> Array:
    raise NotImplementedError(
        "Elementwise: the finite network needs the function itself, and fn is None; give fn."
    )


def _name_of(fn: Any) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def ElementwiseNumerical(
    fn: Number, deg: int, df: Number | None = None, do_backprop: bool = False
) -> Layer:
    r"""Any function of each activation, by Gauss-Hermite quadrature of a given degree.

    .. math::
        K' = \sum_{ij} w_i w_j\, f(r_1 x_i)\,
        f\left(\frac{K}{r_1} x_i + \sqrt{v_2 - K^2 / v_1}\, x_j\right),

    and the same with f' for the factor of the tangent kernel. The values are those of
    `neural_tangents`; the distance of two outputs is the sum of squared differences, so that
    near-equal points keep their digits. For a function with kinks or steps, or variances far above
    1, the error falls slowly with the degree: `Elementwise(fn)` chooses its own nodes.

    Args:
      fn: a function R -> R, written with `jax.numpy`.
      deg: the number of nodes in each of two dimensions; 25 does for most smooth functions.
      df: its derivative; by default that of autodiff.
      do_backprop: of no effect, for compatibility: gradients are always safe.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: `deg` is not a positive integer; a function does not return one number; when
        called, the input is not Gaussian.
      TypeError: a function cannot be called with a number that JAX traces.

    Source: Han et al. 2022, arXiv 2209.04121, section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> tanh = stax.ElementwiseNumerical(jnp.tanh, deg=25)
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), tanh)
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.3943
    """
    degree = check_count("ElementwiseNumerical", "deg", deg)
    check_flag("ElementwiseNumerical", "do_backprop", do_backprop)
    function = ScalarFunction(fn, df).checked("ElementwiseNumerical")
    if df is not None:
        ScalarFunction(df).checked("ElementwiseNumerical", "df")
    arguments = f"{_name_of(fn)}, deg={degree}"
    activation = GaussHermite(function, degree)
    return elementwise("ElementwiseNumerical", arguments, activation, function)
