"""Runs: equal layers one after the other, executed as a loop.

A network of 21 convolutions compiles in the time of one, and what belongs to an image is made for
all layers of the run at once. The numbers of the layers may differ; all else must agree.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ntkjax._kernel.operation import RowOperation
from ntkjax._kernel.plan import Plan


@dataclasses.dataclass(frozen=True)
class Run:
    """`count` repetitions of the `period` operations that start at node `start`."""

    start: int
    period: int
    count: int

    @property
    def last(self) -> int:
        """The node that ends the run."""
        return self.start + self.period * self.count - 1

    @property
    def block(self) -> range:
        """The nodes of the first repetition."""
        return range(self.start, self.start + self.period)

    def operations(self, plan: Plan, dtype: Any) -> list[RowOperation]:
        """The operations of a repetition, their numbers stacked along the repetitions."""

        def stack(*leaves: Any) -> Any:
            arrays = [jnp.asarray(leaf) for leaf in leaves]
            # Stacked, a Python number would impose its own precision.
            weak = all(jax.typeof(array).weak_type for array in arrays)
            stacked = jnp.stack(arrays)
            return stacked.astype(dtype) if weak else stacked

        nodes = plan.nodes
        return [
            jax.tree.map(stack, *(nodes[i + r * self.period].operation for r in range(self.count)))
            for i in self.block
        ]


def find_runs(plan: Plan) -> dict[int, Run]:
    """The runs of a plan, by their first node."""
    consumers = [0] * len(plan.nodes)
    for node in plan.nodes:
        for i in node.inputs:
            consumers[i] += 1
    for i in plan.outputs:
        consumers[i] += 1
    kinds = [_kind(plan, i) for i in range(len(plan.nodes))]
    runs: dict[int, Run] = {}
    start = 0
    while start < len(kinds):
        best = Run(start, 1, 1)
        end = start
        # A run may reach as far as the chain in which each node has one consumer.
        while end < len(kinds) and kinds[end] is not None:
            end += 1
            if consumers[end - 1] != 1:
                break
        for period in range(1, (end - start) // 2 + 1):
            count = 1
            while (
                start + (count + 1) * period <= end
                and kinds[start + count * period : start + (count + 1) * period]
                == kinds[start : start + period]
            ):
                count += 1
            if count > 1 and period * count > best.period * best.count:
                best = Run(start, period, count)
        if best.count > 1:
            runs[start] = best
        start = best.last + 1
    return runs


def _kind(plan: Plan, index: int) -> Any:
    """What must agree for two operations to be the same body of a loop; None for no loop."""
    node = plan.nodes[index]
    operation = node.operation
    if not isinstance(operation, RowOperation) or not operation.keeps_rows:
        return None
    step = plan.step(index)
    same_geometry = (step.below.sizes, step.below.periods) == (step.here.sizes, step.here.periods)
    chained = node.inputs == (index - 1,) and not plan.is_converted(index, index - 1)
    below_in_distances = plan.held[index - 1].in_distances
    if not chained or not same_geometry or not below_in_distances or not step.in_distances:
        return None
    leaves, structure = jax.tree.flatten(operation)
    types = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
    channels = step.signal.channels if operation.reads_channels else None
    return structure, types, step.below.sizes, channels
