"""The dual of a nonlinearity as a plain function of covariances, for kernels of one's own."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._activations.integrated import Quadrature
from ntkjax._activations.scalar_function import ScalarFunction
from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.algebra.graph import Named
from ntkjax._kernel.algebra.roots import safe_reciprocal, safe_sqrt
from ntkjax._kernel.arrays import default_float, describe, real_array
from ntkjax._kernel.kernel_fn import KernelFn
from ntkjax._kernel.operations.pointwise import Dual
from ntkjax._layers.finite import in_one_dtype


class DualFunction:
    """The map (cov12, var1, var2) -> (E f(u) f(v), E f'(u) f'(v)): see `dual`."""

    def __init__(self, name: str, activation: Any):
        self._name, self._activation = name, activation

    def __repr__(self) -> str:
        return f"dual({self._name})"

    def __call__(self, cov12: Any, var1: Any, var2: Any) -> tuple[Array, Array]:
        """The two expectations, of arrays that broadcast to one shape."""
        cov, v1, v2 = self._arrays(cov12, var1, var2)
        return _expectations(self._activation, cov, v1, v2)

    def error(self, cov12: Any, var1: Any, var2: Any) -> tuple[Array, Array]:
        """Bounds of the errors of both, of a function that is integrated by quadrature.

        Raises:
          TypeError: the dual is known in another form, which has no such bound.
        """
        if not hasattr(self._activation, "error"):
            raise TypeError(
                f"{self}: its dual is not an integral by quadrature, so there is no bound of its "
                "error; docs/layers.md says how exact each layer is."
            )
        return _errors(self._activation, *self._arrays(cov12, var1, var2))

    def _arrays(self, cov12: Any, var1: Any, var2: Any) -> list[Array]:
        names = ("cov12", "var1", "var2")
        given = [
            real_array(f"{self}: {name}", value)
            for name, value in zip(names, (cov12, var1, var2), strict=True)
        ]
        floats = [_in_floats(array) for array in given]
        try:
            shape = jnp.broadcast_shapes(*(a.shape for a in floats))
        except ValueError:
            shapes = ", ".join(f"{n} {a.shape}" for n, a in zip(names, floats, strict=True))
            raise ValueError(f"{self}: {shapes} do not broadcast to one shape.") from None
        cov, v1, v2 = (jnp.broadcast_to(a, shape) for a in in_one_dtype(floats))
        if is_concrete((cov, v1, v2)):
            self._check(cov, v1, v2)
        return [cov, v1, v2]

    def _check(self, cov: Array, v1: Array, v2: Array) -> None:
        """Numbers that are known must be those of a Gaussian pair."""
        if bool(jnp.any(~(v1 >= 0) | ~(v2 >= 0))):
            raise ValueError(f"{self}: var1 and var2 must be variances, not negative and not NaN.")
        slack = 1 + 64 * float(jnp.finfo(cov.dtype).eps)
        if bool(jnp.any(~(jnp.abs(cov) <= slack * jnp.sqrt(v1) * jnp.sqrt(v2)))):
            raise ValueError(
                f"{self}: |cov12| is more than sqrt(var1 var2), or NaN, so that no Gaussian pair "
                "has this covariance; mind the order (cov12, var1, var2)."
            )


@jax.jit
def _errors(activation: Any, cov: Array, v1: Array, v2: Array) -> tuple[Array, Array]:
    return activation.error(cov, v1, v2)


@jax.jit
def _expectations(activation: Any, cov: Array, v1: Array, v2: Array) -> tuple[Array, Array]:
    """E f(u) f(v) and E f'(u) f'(v)."""
    of = _of_directions if activation.is_homogeneous else _of_sizes
    return of(activation, cov, v1, v2)


def _of_directions(activation: Any, cov: Array, v1: Array, v2: Array) -> tuple[Array, Array]:
    """Of a homogeneous f, by the correlation."""
    product = safe_sqrt(v1) * safe_sqrt(v2)
    cosine = jnp.clip(cov * safe_reciprocal(product), -1.0, 1.0)
    point = activation.point(jnp.ones_like(cosine))
    made = activation.pair(point, point, 2 * (1 - cosine), supplement=2 * (1 + cosine))
    energy = activation.variance(jnp.ones_like(cosine))
    return product * (energy - 0.5 * made.distance), made.slope


def _of_sizes(activation: Any, cov: Array, v1: Array, v2: Array) -> tuple[Array, Array]:
    """Of any other f; points beyond its cap are replaced by smaller ones."""
    r1, r2 = safe_sqrt(v1), safe_sqrt(v2)
    cap = activation.cap(cov.dtype)
    cap = jnp.asarray(jnp.inf if cap is None else cap, cov.dtype)
    a1, a2 = (jnp.minimum(1.0, cap * safe_reciprocal(r)) for r in (r1, r2))
    a1, a2 = jnp.where(r1 > 0, a1, 1.0), jnp.where(r2 > 0, a2, 1.0)
    cov = a1 * (a2 * cov)
    rest = jnp.maximum((a1 * r1) * (a2 * r2) - jnp.abs(cov), 0.0)
    points = [activation.point(jnp.square(a) * v) for a, v in ((a1, v1), (a2, v2))]
    made = activation.far(*points, cov, rest=rest)
    grown = (a1 * a2) ** activation.growth
    return made.covariance / grown, made.slope


def dual(fn_or_layer: Any) -> DualFunction:
    r"""The dual of an activation, as a function of the covariances of a pair.

    .. math::
        (K, v_1, v_2) \mapsto \left(E f(u) f(v),\; E f'(u) f'(v)\right), \qquad
        (u, v) \sim N\left(0, \begin{pmatrix} v_1 & K \\ K & v_2 \end{pmatrix}\right).

    These are the two numbers that a nonlinearity adds to a kernel: K becomes the first, and the
    tangent kernel is multiplied by the second. The arguments of the map are those of `nngp_fn` of
    `stax.Elementwise`, in this order; they may be arrays that broadcast, of JAX or NumPy, and
    traced. The dual of a layer is its own; that of a function is an integral, as in
    `stax.Elementwise(fn)`, and `dual(fn).error(cov12, var1, var2)` bounds the errors of both
    numbers.

    Args:
      fn_or_layer: a nonlinearity, such as `stax.Relu()`, or a function R -> R, such as `jnp.tanh`.

    Returns:
      A function `(cov12, var1, var2) -> (nngp, slope)`.

    Raises:
      TypeError: the argument is neither; it is a layer that is no scalar function.
      ValueError: the function has too many kinks, steps or wiggles; when the map is called, the
        numbers are known and are not those of a Gaussian pair.

    Source: Daniely et al. 2016, arXiv 1602.05897; Jacot et al. 2018, arXiv 1806.07572.

    Example:
      >>> import numpy as np
      >>> import ntkjax
      >>> nngp, slope = ntkjax.dual(ntkjax.stax.Relu())(0.0, 1.0, 1.0)
      >>> round(float(nngp), 4), round(float(slope), 4)
      (0.1592, 0.25)
      >>> nngp, slope = ntkjax.dual(lambda x: abs(x))(np.array([-1.0, 1.0]), 1.0, 1.0)
      >>> [round(float(k), 4) for k in nngp], [round(float(s), 4) for s in slope]
      ([1.0, 1.0], [-1.0, 1.0])
    """
    if isinstance(fn_or_layer, tuple) and len(fn_or_layer) == 3:
        return DualFunction(repr(fn_or_layer), _activation_of(fn_or_layer))
    if not callable(fn_or_layer):
        raise TypeError(
            f"dual: {describe(fn_or_layer)} is neither a nonlinearity, such as stax.Relu(), nor a "
            "function of one number, such as jnp.tanh; mind to call the layer."
        )
    function = ScalarFunction(fn_or_layer).checked("dual")
    function.pieces("dual", default_float())
    name = getattr(fn_or_layer, "__name__", type(fn_or_layer).__name__)
    return DualFunction(name, Quadrature(function, "dual"))


def _activation_of(layer: Any) -> Any:
    """The activation of a layer that is one nonlinearity and nothing else."""
    kernel_fn: Callable[..., Any] = layer[2]
    part = kernel_fn.part if isinstance(kernel_fn, KernelFn) else None
    parts = part.parts if isinstance(part, Named) else ()
    if len(parts) != 1 or not isinstance(parts[0], Dual):
        raise TypeError(
            f"dual: {layer!r} is no scalar nonlinearity, so that it has no dual; take one such as "
            "stax.Relu() or stax.Erf()."
        )
    return parts[0].activation


def _in_floats(array: Any) -> Array:
    """An array of floats, no wider than JAX's own."""
    wide = default_float()
    if not jnp.issubdtype(array.dtype, jnp.floating) or array.dtype.itemsize > wide.itemsize:
        return jnp.asarray(array, wide)
    return jnp.asarray(array)
