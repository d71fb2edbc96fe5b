"""Linear steps whose transposes are written beside them.

JAX makes the transpose of a linear step, which gradients take, out of the transposes of its parts.
Of a window that slides over an array, that is a sum of arrays of zeros with a window written into
each; the same numbers are had by sliding a window over the cotangent. A step that is written here
as such a pair is computed as it stands, forwards and along tangents, and by its partner backwards.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

#: From known arrays and others to what is linear in the others; pytrees all.
Map = Callable[[Any, Any], Any]


@dataclasses.dataclass(frozen=True)
class LinearStep:
    """A linear map and its transpose.

    Attributes:
      forwards: the map.
      backwards: its transpose: the sum of `ct * forwards(known, x)` is that of
        `backwards(known, ct) * x`.
    """

    forwards: Map
    backwards: Map

    def __call__(self, known: Any, x: Any) -> Any:
        """`forwards(known, x)`."""
        known, of_known = jax.tree.flatten(known)
        x, of_x = jax.tree.flatten(x)
        after = jax.tree.structure(
            jax.eval_shape(self.forwards, of_known.unflatten(known), of_x.unflatten(x))
        )
        flat = _Flat(self.forwards, self.backwards, of_known, of_x, after)
        return after.unflatten(_step.bind(*known, *x, flat=flat))


@dataclasses.dataclass(frozen=True)
class _Flat:
    """A linear step of the leaves of its arguments, and perhaps over the first axes of some."""

    forwards: Map
    backwards: Map
    known: Any
    before: Any
    after: Any
    axes: tuple[tuple[int | None, ...], ...] = ()  # of the known leaves, one mapping a time

    @property
    def count(self) -> int:
        """How many of the operands are known."""
        return self.known.num_leaves

    @property
    def transposed(self) -> "_Flat":
        """The transpose, whose own is this step."""
        return _Flat(self.backwards, self.forwards, self.known, self.after, self.before, self.axes)

    def of(self, known: Sequence[Array], x: Sequence[Array]) -> list[Array]:
        """The leaves of what the step makes."""

        def one(known: Sequence[Array], x: Sequence[Array]) -> list[Array]:
            made = self.forwards(self.known.unflatten(known), self.before.unflatten(x))
            return self.after.flatten_up_to(made)

        for axes in self.axes:
            one = jax.vmap(one, (list(axes), 0))
        return one(list(known), list(x))


_step = Primitive("linear_step")
_step.multiple_results = True


def _apply(*operands: Array, flat: _Flat) -> list[Array]:
    return flat.of(operands[: flat.count], operands[flat.count :])


def _shapes(*operands: Any, flat: _Flat) -> list[Any]:
    made = jax.eval_shape(functools.partial(_apply, flat=flat), *operands)
    return [operands[-1].update(shape=out.shape, dtype=out.dtype, weak_type=False) for out in made]


def _jvp(primals: Any, tangents: Any, *, flat: _Flat) -> tuple[list[Array], list[Any]]:
    known, x = primals[: flat.count], primals[flat.count :]
    made = _step.bind(*primals, flat=flat)
    changes: list[Any] = []
    if not _all_zero(tangents[flat.count :]):
        changes = _step.bind(*known, *map(ad.instantiate_zeros, tangents[flat.count :]), flat=flat)
    if not _all_zero(tangents[: flat.count]):
        of_known = tuple(map(ad.instantiate_zeros, tangents[: flat.count]))
        _, more = jax.jvp(lambda *known: flat.of(known, x), tuple(known), of_known)
        changes = list(map(jnp.add, changes, more)) if changes else more
    return made, changes


def _all_zero(tangents: Any) -> bool:
    return all(isinstance(change, ad.Zero) for change in tangents)


def _transpose(cotangents: Any, *operands: Any, flat: _Flat) -> list[Any]:
    known = operands[: flat.count]
    if _all_zero(cotangents):
        return [None] * len(operands)
    back = _step.bind(*known, *map(ad.instantiate_zeros, cotangents), flat=flat.transposed)
    return [None] * len(known) + list(back)


def _batched(operands: Any, axes: Any, *, flat: _Flat) -> tuple[list[Array], list[int]]:
    """Of many arrays at once; every x is one of many, since its cotangents are."""
    size = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None)
    moved = [
        x if axis is None else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(operands, axes, strict=True)
    ]
    x = [
        jnp.broadcast_to(x, (size, *x.shape)) if axis is None else x
        for x, axis in zip(moved[flat.count :], axes[flat.count :], strict=True)
    ]
    of_known = tuple(None if axis is None else 0 for axis in axes[: flat.count])
    many = dataclasses.replace(flat, axes=(*flat.axes, of_known))
    made = _step.bind(*moved[: flat.count], *x, flat=many)
    return made, [0] * len(made)


_step.def_impl(_apply)
_step.def_abstract_eval(_shapes)
ad.primitive_jvps[_step] = _jvp
ad.primitive_transposes[_step] = _transpose
batching.primitive_batchers[_step] = _batched
mlir.register_lowering(_step, mlir.lower_fun(_apply, multiple_results=True))
