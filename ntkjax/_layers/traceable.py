"""A user's own `kernel_fn`, which JAX traces: it sees kernels before their numbers are known."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import LayerError
from ntkjax._layers.masking import MaskedArray

_NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclasses.dataclass(frozen=True)
class Traceable:
    """The function, with an error that says what a traced function cannot do.

    Two of the same function are equal, so that a network made twice is compiled once. Where it
    leaves the shapes of a kernel as they were, they are those that the finite network makes.
    """

    kernel_fn: Callable[..., Any]
    init_fn: Callable[..., Any] | None = None
    apply_fn: Callable[..., Any] | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The keywords that it names, besides its kernel."""
        try:
            inner = getattr(self.kernel_fn, "kernel_fn", self.kernel_fn)  # under `requires`
            parameters = list(inspect.signature(inner).parameters.values())
        except (TypeError, ValueError):
            return ()
        return tuple(p.name for p in parameters[1:] if p.kind in _BY_NAME)

    def __call__(self, kernel: Any, **options: Any) -> Any:
        """Call the function."""
        try:
            after = self.kernel_fn(kernel, **options)
        except _NEEDS_VALUES as error:
            line, _, _ = str(error).partition("\n")
            name = getattr(self.kernel_fn, "__qualname__", repr(self.kernel_fn))
            raise LayerError(
                f"the user's kernel_fn {name} asks for numbers of its kernel, which JAX does not "
                "know yet while it compiles the network. Use jax.numpy instead of numpy, jnp.where "
                "or jax.lax.cond instead of `if`, and no float() or int() of its arrays; JAX says: "
                f"{line}"
            ) from None
        if not isinstance(after, Kernel) or not isinstance(kernel, Kernel):
            return after
        after = after.reverse() if after.is_reversed else after
        if self.init_fn is None or (after.shape1, after.shape2) != (kernel.shape1, kernel.shape2):
            return after
        shapes = [self._shape_after(shape, after) for shape in (kernel.shape1, kernel.shape2)]
        return dataclasses.replace(after, shape1=shapes[0], shape2=shapes[1])

    def _shape_after(self, shape: tuple[int, ...], after: Kernel) -> tuple[int, ...]:
        """The shape that the finite network makes of activations; this one, where there is none."""

        def network(x: Any) -> Any:
            assert self.init_fn is not None
            assert self.apply_fn is not None
            key = jax.random.key(0)
            out = self.apply_fn(self.init_fn(key, shape)[1], x, rng=key)
            return out.masked_value if isinstance(out, MaskedArray) else out

        try:
            made = jax.eval_shape(network, jax.ShapeDtypeStruct(shape, after.nngp.dtype))
        except Exception:
            # The kernel does not need the finite network, whose own call says what it lacks.
            return shape
        return tuple(getattr(made, "shape", shape)) if jnp.ndim(made) else shape
