"""A user's function of one number: as a function of arrays, with its derivative and its pieces."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from ntkjax._activations.expansion import Expansion, expansion_of
from ntkjax._activations.linear_pieces import LinearPieces, linear_pieces_of
from ntkjax._activations.pieces import NotSmoothError, Pieces, pieces_of
from ntkjax._jax_compat import double_precision, is_traced

#: Points that are looked at together, so that the function is compiled once.
_CHUNK = 2048
#: Nodes of a rule, and the error that is wanted.
ACCURACY = {32: (8, 1e-7), 64: (12, 1e-13)}


@dataclasses.dataclass(frozen=True)
class ScalarFunction:
    """A function R -> R. Two of the same function are equal, so that programs are shared.

    Attributes:
      fn: the function, of an array of no axes.
      slope_fn: its derivative; by default that of autodiff.
    """

    fn: Callable[[Any], Any]
    slope_fn: Callable[[Any], Any] | None = None

    def __call__(self, x: Array) -> Array:
        """Value f(x), of an array of any shape."""
        return jnp.vectorize(lambda t: jnp.asarray(self.fn(t)).astype(t.dtype))(x)

    def with_slope(self, x: Array) -> tuple[Array, Array]:
        """f(x) and f'(x)."""
        if self.slope_fn is not None:
            return self(x), ScalarFunction(self.slope_fn)(x)
        return jax.jvp(self, (x,), (jnp.ones_like(x),))

    def checked(self, layer: str, argument: str = "fn") -> "ScalarFunction":
        """The same, if it takes and returns one number; raises TypeError or ValueError."""
        if not callable(self.fn):
            raise TypeError(
                f"{layer}: {argument}={self.fn!r}, expected a function of one number, such as "
                f"{argument}=jnp.tanh."
            )
        made = _made(layer, argument, self.fn, 1)
        if made.shape != ():
            raise ValueError(
                f"{layer}: {argument} returns an array of shape {made.shape} for one number; "
                "expected one number."
            )
        return self

    def pieces(self, layer: str, dtype: DTypeLike) -> Pieces:
        """Between which points it is smooth; found by looking at its values, once.

        Raises:
          TypeError: the values depend on traced numbers.
          ValueError: it has too many kinks, steps or wiggles.
        """
        bits = jnp.finfo(dtype).bits
        try:
            return _pieces(self, bits)
        except NotSmoothError as error:
            raise ValueError(
                f"{layer}: fn cannot be integrated: {error}. Give nngp_fn, its expectation in "
                "closed form, or take ElementwiseNumerical, whose error is not known."
            ) from None
        except _Traced:
            raise TypeError(
                f"{layer}: fn depends on numbers that are traced, but its kinks are found by its "
                "values. Make the layer outside of jax.jit and jax.grad, or give nngp_fn, its "
                "expectation in closed form."
            ) from None

    def expansion(self, layer: str, dtype: DTypeLike) -> Expansion | None:
        """The expansion of its dual, made once; None if it has none."""
        kinks = self.pieces(layer, dtype).kinks
        return _expansion(self, kinks, jnp.finfo(dtype).bits)

    def lines(self, layer: str, dtype: DTypeLike) -> LinearPieces | None:
        """The lines of which it consists; None if it does not."""
        return _lines(self, self.pieces(layer, dtype))


class _Traced(Exception):
    """Values are not known."""


def _made(layer: str, argument: str, fn: Callable[..., Any], count: int) -> Any:
    """What a function makes of `count` numbers, without their values."""
    number = jax.ShapeDtypeStruct((), jnp.result_type(float))
    try:
        made = jax.eval_shape(lambda *x: jnp.asarray(fn(*x)), *[number] * count)
    except Exception as error:
        line, _, _ = str(error).partition("\n")
        raise TypeError(
            f"{layer}: {argument} fails for {count} number{'s' * (count > 1)} that JAX traces; "
            "write it with jax.numpy instead of numpy, and jnp.where instead of `if`. "
            f"It says: {line}"
        ) from error
    if not jnp.issubdtype(made.dtype, np.number) and made.dtype != bool:
        raise TypeError(f"{layer}: {argument} returns {made.dtype}, expected real numbers.")
    if jnp.issubdtype(made.dtype, np.complexfloating):
        raise TypeError(f"{layer}: {argument} returns {made.dtype}, expected real numbers.")
    return made


def check_pair_function(layer: str, argument: str, fn: Any) -> Any:
    """A function (cov12, var1, var2) of numbers that returns one number."""
    if not callable(fn):
        raise TypeError(
            f"{layer}: {argument}={fn!r}, expected a function of three numbers, "
            f"{argument}(cov12, var1, var2)."
        )
    made = _made(layer, argument, fn, 3)
    if made.shape != ():
        raise ValueError(
            f"{layer}: {argument} returns an array of shape {made.shape} for three numbers; "
            "expected one number."
        )
    return fn


@functools.lru_cache(maxsize=256)
def _pieces(function: ScalarFunction, bits: int) -> Pieces:
    count, tolerance = ACCURACY[bits]
    try:
        with double_precision():
            return pieces_of(_sampler(function, np.float64), count, tolerance, 1e-13)
    except (TypeError, FloatingPointError):
        # A function of constants in float32, which may not be mixed with float64.
        sample = _sampler(function, np.float32)
        return pieces_of(sample, count, max(tolerance, 1e-6), 1e-5, 2.0**-20)


@functools.lru_cache(maxsize=256)
def _expansion(function: ScalarFunction, kinks: tuple[float, ...], bits: int) -> Expansion | None:
    return _of_samples(function, lambda sample: expansion_of(sample, kinks, bits))


@functools.lru_cache(maxsize=256)
def _lines(function: ScalarFunction, pieces: Pieces) -> LinearPieces | None:
    return _of_samples(function, lambda sample: linear_pieces_of(sample, pieces))


def _of_samples(function: ScalarFunction, make: Callable[[Any], Any]) -> Any:
    """What is made of values in float64; None of a function that has none."""
    compiled = jax.jit(function.with_slope)
    try:
        with double_precision():
            return make(lambda points: tuple(_known(compiled, points)))
    except (TypeError, FloatingPointError):
        # A function of constants in float32, which may not be mixed with float64.
        return None


def _sampler(function: ScalarFunction, dtype: Any) -> Callable[[np.ndarray], Any]:
    """Values of f and f' at NumPy arrays."""
    compiled = jax.jit(function.with_slope)

    def sample(points: np.ndarray) -> Any:
        padded = np.zeros(-(-len(points) // _CHUNK) * _CHUNK, dtype)
        padded[: len(points)] = points
        parts = [_known(compiled, chunk) for chunk in padded.reshape(-1, _CHUNK)]
        return tuple(np.concatenate(a)[: len(points)] for a in zip(*parts, strict=True))

    return sample


def _known(compiled: Callable[..., Any], chunk: np.ndarray) -> list[np.ndarray]:
    with jax.ensure_compile_time_eval():
        made = compiled(jnp.asarray(chunk))
    if any(map(is_traced, made)):
        raise _Traced
    return [np.asarray(a, np.float64) for a in made]
