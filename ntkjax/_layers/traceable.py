"""A user's own `kernel_fn`, which JAX traces: it sees kernels before their numbers are known."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from ntkjax._kernel.algebra.operation import LayerError

_NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


@dataclasses.dataclass(frozen=True)
class Traceable:
    """The function, with an error that says what a traced function cannot do.

    Two of the same function are equal, so that a network made twice is compiled once.
    """

    kernel_fn: Callable[..., Any]

    def __call__(self, kernel: Any) -> Any:
        """Call the function."""
        try:
            return self.kernel_fn(kernel)
        except _NEEDS_VALUES as error:
            line, _, _ = str(error).partition("\n")
            name = getattr(self.kernel_fn, "__qualname__", repr(self.kernel_fn))
            raise LayerError(
                f"the user's kernel_fn {name} asks for numbers of its kernel, which JAX does not "
                "know yet while it compiles the network. Use jax.numpy instead of numpy, jnp.where "
                "or jax.lax.cond instead of `if`, and no float() or int() of its arrays; JAX says: "
                f"{line}"
            ) from None
