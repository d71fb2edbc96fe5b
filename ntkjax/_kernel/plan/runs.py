"""Runs: equal blocks of layers one after the other, executed as a loop where they are many.

A network of a hundred convolutions compiles in the time of a few. A block has one entry, the node
before it, and one exit, its last node. The numbers of the layers may differ; all else must agree.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ntkjax._kernel.algebra.operation import Operation
from ntkjax._kernel.algebra.sides import NO_HALO
from ntkjax._kernel.plan.plan import Plan

#: Fewer operations are no run: one by one they take longer to compile, and a fifth less to run,
#: because a loop copies what it carries.
LONG = 100


@dataclasses.dataclass(frozen=True)
class Run:
    """`count` repetitions of the block of `period` operations that starts at node `start`."""

    start: int
    period: int
    count: int

    @property
    def entry(self) -> int:
        """The node whose output the first block takes."""
        return self.start - 1

    @property
    def last(self) -> int:
        """The node that ends the run."""
        return self.start + self.period * self.count - 1

    @property
    def block(self) -> range:
        """The nodes of the first block."""
        return range(self.start, self.start + self.period)

    @property
    def pieces(self) -> "list[Run]":
        """Runs of which n repetitions store some 2 sqrt(n) for gradients.

        Backwards, each keeps what it begins with and, while its turn lasts, its repetitions.
        """
        repetitions = range(self.start, self.last + 1, self.period)
        return [Run(some[0], self.period, len(some)) for some in in_pieces(repetitions)]

    def operations(self, plan: Plan, dtype: Any) -> dict[int, Operation]:
        """The operations of a block, their numbers stacked along the repetitions."""

        def stack(*leaves: Any) -> Any:
            arrays = [jnp.asarray(leaf) for leaf in leaves]
            # Stacked, a Python number would impose its own precision.
            weak = all(jax.typeof(array).weak_type for array in arrays)
            stacked = jnp.stack(arrays)
            return stacked.astype(dtype) if weak else stacked

        nodes = plan.nodes
        return {
            i: jax.tree.map(
                stack, *(nodes[i + r * self.period].operation for r in range(self.count))
            )
            for i in self.block
        }


def in_pieces(items: Sequence[Any]) -> list[Sequence[Any]]:
    """Cut a sequence of n into some sqrt(n) pieces, as equal as can be."""
    number = math.isqrt(len(items))
    edges = [len(items) * k // max(number, 1) for k in range(number + 1)]
    return [items[a:b] for a, b in itertools.pairwise(edges)]


def find_runs(plan: Plan) -> dict[int, Run]:
    """The runs of a plan, by their first node."""
    consumers = plan.consumers
    kinds = [_kind(plan, i) for i in range(len(plan.nodes))]

    def is_block(start: int, period: int) -> bool:
        """Whether the nodes take nothing from before the entry, and give on the last one alone."""
        end = start + period
        return end <= len(kinds) and all(
            kinds[i] is not None
            and min(plan.nodes[i].inputs) >= start - 1
            and (i == end - 1 or (consumers[i] and max(consumers[i]) < end))
            for i in range(start, end)
        )

    def count(start: int, period: int) -> int:
        """How many equal blocks follow each other."""
        number = 0
        while is_block(start + number * period, period):
            here = start + number * period
            if number and max(consumers[here - 1]) >= here + period:
                break  # somebody else takes the block before, which a loop does not give away
            if kinds[here : here + period] != kinds[start : start + period]:
                break
            number += 1
        return number

    runs: dict[int, Run] = {}
    start = 0
    while start < len(kinds):
        best = Run(start, 1, 1)
        period = 1
        while start + 2 * period <= len(kinds) and kinds[start + period - 1] is not None:
            repeats = count(start, period)
            if repeats > 1 and period * repeats > best.period * best.count:
                best = Run(start, period, repeats)
            period += 1
        if best.count > 1 and best.period * best.count >= LONG:
            runs |= {piece.start: piece for piece in best.pieces}
        start = best.last + 1
    return runs


def _kind(plan: Plan, index: int) -> Any:
    """What must agree for two operations to be the same body of a loop; None for no loop."""
    node, step = plan.nodes[index], plan.steps[index]
    operation: Any = node.operation
    if plan.is_source(index) or not operation.keeps_rows or step.renews_scale:
        return None
    geometry = [(place.cross.sizes, place.cross.periods) for place in (*step.inputs, step.here)]
    if len(set(geometry)) > 1 or not step.here.form.is_distance:
        return None
    leaves, structure = jax.tree.flatten(operation)
    types = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
    # The last block may be read further beyond its ends, or less, than the others.
    alone = dataclasses.replace(
        step, here=dataclasses.replace(step.here, halo=NO_HALO, is_ring=False)
    )
    return structure, types, tuple(index - j for j in node.inputs), alone
