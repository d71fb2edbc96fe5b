"""J(x1) J(x2)' of one output of a network by NTK-vector products: no Jacobian is multiplied.

A row of f(x2) is differentiated, and f(x1) is differentiated in the direction of its gradient. That
is a backward and a forward pass for each row and each example, and gradients of one chunk of rows.

Source: Novak et al. 2022, arXiv 2206.08720, section 3.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._finite.dependence import EXAMPLE, ONCE, ROW
from ntkjax._finite.footprint import footprint
from ntkjax._finite.loops import added, merged, numbers, over, over_rows
from ntkjax._finite.networks import Side
from ntkjax._finite.output_axes import OutputAxes
from ntkjax._finite.program import traced
from ntkjax._finite.tiles import Places, Rows, Take, most_examples

#: Parts of the budget for gradients of a chunk of x2, and for the passes through x1 along them.
_BACK, _AHEAD = 0.4, 0.5


class VectorPlan(NamedTuple):
    """How it is computed: rows of x2 and examples of x1 at a time, and multiplications."""

    chunk: Rows
    examples: int
    work: float


def vector_plan(
    places: Places, leaves: Sequence[Array], sides: Sequence[Side], budget: float
) -> VectorPlan:
    """The plan for the examples of one or two sides; it depends on shapes alone."""
    first, second = sides[0], sides[-1]
    program = traced(second.network, list(leaves), second.example)
    output = jax.ShapeDtypeStruct(
        program.shape(program.outputs[0]), program.dtype(program.outputs[0])
    )

    def back(leaves: Any, example: Any, cotangent: Any) -> Any:
        return jax.vjp(lambda p: second.network(p, example), leaves)[1](cotangent)

    def ahead(leaves: Any, example: Any, direction: Any) -> Any:
        return jax.jvp(lambda p: first.network(p, example), (leaves,), (direction,))[1]

    once = [ONCE] * len(leaves)
    backward = footprint(
        traced(back, list(leaves), second.example, output),
        [*once, *[EXAMPLE] * len(second.example), ROW],
    )
    forward = footprint(
        traced(ahead, list(leaves), first.example, list(leaves)),
        [*once, *[EXAMPLE] * len(first.example), *[ROW] * len(leaves)],
    )
    chunk = Take(second.count, places.paired2, backward).rows(1, _BACK * budget)
    shared = places.diagonal * places.traced
    rows = chunk.examples * chunk.paired
    examples = min(most_examples(forward, rows, _AHEAD * budget), first.count)
    columns = second.count * places.paired2 * shared
    work = columns * (backward.work(1, 1) + first.count * forward.operations[ROW])
    return VectorPlan(chunk, examples, float(work))


def vector_products(
    axes: OutputAxes,
    leaves: Sequence[Array],
    sides: Sequence[Side],
    places: Places,
    plan: VectorPlan,
) -> Array:
    """The kernel `(examples1, examples2, *kernel of a pair)`; x1 = x2 where there is one side."""
    first, second = sides[0], sides[-1]
    shape = axes.shape2 if len(sides) > 1 else axes.shape1

    def of_places(diagonal: Array, traced: Array) -> Array:
        def columns(some: Array, paired: Array) -> Array:
            def gradients(example: Any) -> Any:
                y, pull = jax.vjp(lambda p: second.network(p, example), list(leaves))
                cotangents = axes.cotangents(shape, paired, diagonal, traced, y.dtype)[:, 0, 0]
                return jax.vmap(pull)(cotangents)[0]

            rows = jax.vmap(gradients)(second.some(some))  # (example, paired, *parameter)

            def along(example: Any) -> Array:
                _, push = jax.linearize(lambda p: first.network(p, example), list(leaves))
                return axes.select(jax.vmap(jax.vmap(push))(rows), diagonal[0], traced[0])

            def of_examples(some: Array) -> Array:
                return jax.vmap(along)(first.some(some))

            made = merged(over(of_examples, numbers(first.count, plan.examples)), 0)
            return made.transpose(0, 1, 3, 2)[:, :, None]  # (x1, x2, diagonal, paired1, paired2)

        made = over_rows(
            columns,
            plan.chunk,
            jnp.asarray(numbers(second.count, plan.chunk.examples).ravel()),
            jnp.asarray(numbers(places.paired2, plan.chunk.paired).ravel()),
            (1, 4),
        )
        return made[: first.count, : second.count, :, :, : places.paired2]

    def of_diagonal(diagonal: Array) -> Array:
        return added(lambda traced: of_places(diagonal, traced), numbers(places.traced, 1))

    blocks = merged(over(of_diagonal, numbers(places.diagonal, 1)), 2)
    return jax.vmap(jax.vmap(axes.assemble))(blocks / places.traced)
