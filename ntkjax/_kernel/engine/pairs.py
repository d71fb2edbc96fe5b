"""The pairs on a diagonal: from where a segment starts to its target, layer by layer.

Where several diagonals are made together, they share the lanes (`lanes.py`).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.diagonals import entry
from ntkjax._kernel.algebra.state import NO_HALO, Halo, Pairs, added, covariance, ringed
from ntkjax._kernel.engine.contributions import Contributions
from ntkjax._kernel.engine.inputs import mean_over_channels, squared_distance
from ntkjax._kernel.plan.plan import Plan
from ntkjax._kernel.plan.runs import Run, in_pieces
from ntkjax._kernel.plan.segment import Segment

Stores = dict[int, Pairs]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Parts:
    """Of what the nodes of a segment make their pairs, besides those before them.

    Attributes:
      operations: the operation of each node; of a run, its numbers stacked along the repetitions.
      masks: what depends on the diagonal alone.
      first: what first images contribute.
      second: what second images contribute.
    """

    operations: dict[int, Any]
    masks: dict[int, Any]
    first: Contributions
    second: Contributions

    def among(self, nodes: Sequence[int]) -> "Parts":
        """Those of some nodes alone."""
        operations = {i: self.operations[i] for i in nodes}
        masks = {i: self.masks[i] for i in nodes if i in self.masks}
        return Parts(operations, masks, self.first.among(nodes), self.second.among(nodes))


def loaded(segment: Segment, stores: Stores) -> Stores:
    """The diagonals of the nodes where a segment starts, of those held on several."""

    def load(i: int) -> Pairs:
        grid = segment.plan.held[i].cross
        shift = segment.rows[i].shift
        if all(isinstance(d, int) for d in shift):
            return stores[i].map(lambda array: array[grid.row_index(shift)])
        # Stored, so that XLA compiles one program that reads at any place.
        index = materialized(grid.row_index, shift)
        if not jnp.ndim(index):
            return stores[i].map(lambda array: entry(array, index))
        rows = lambda array: [entry(array, k) for k in index]  # noqa: E731
        return stores[i].map(lambda array: jnp.concatenate(rows(array), -1))

    return {i: load(i) for i in segment.rows if i in stores and segment.is_source(i)}


def pairs_of(
    segment: Segment,
    given: Stores,
    masks: dict[int, Any],
    first: Contributions,
    second: Contributions,
    same: Array | None,
) -> Pairs:
    """The diagonal of the target, of the pairs of these images.

    `same` tells which pairs are of one image with itself (None: not known to be).
    """
    operations = {i: segment.plan.nodes[i].operation for i in segment.order}
    parts = Parts(operations, masks, first, second)
    made = {
        i: _load(segment, i, given.get(i), first.among([i]), second.among([i]), same)
        for i in segment.order
        if segment.is_source(i)
    }
    nodes: list[int] = []
    for i in segment.order:
        if i in segment.runs:
            run = segment.runs[i]
            made = _made(segment, nodes, made, parts)
            made[run.last], nodes = _pairs_of_run(segment, run, made[run.entry], parts), []
        elif i not in made and i not in segment.repeated:
            nodes.append(i)
    return _made(segment, nodes, made, parts)[segment.target]


def _made(segment: Segment, nodes: Sequence[int], made: Stores, parts: Parts) -> Stores:
    """What is made already, and those of some nodes that are kept.

    For gradients, n layers store what some 2 sqrt(n) of them begin with: the nodes are made in
    pieces, each of which, backwards, is made again while its turn lasts.
    """
    groups = segment.groups(nodes)
    pieces = in_pieces(groups)
    if len(pieces) <= 1:
        return _groups_made(segment, groups, made, parts)
    for piece in pieces:
        inside = [i for group in piece for i in group]
        of = _needed(segment, inside, made), parts.among(inside)
        made = made | materialized(lambda of, piece=piece: _read_beyond(segment, piece, *of), of)
    return made


def _read_beyond(
    segment: Segment, piece: Sequence[Sequence[int]], made: Stores, parts: Parts
) -> Stores:
    """Of the nodes in which the groups of a piece end, those that are needed after it."""
    made = _groups_made(segment, piece, made, parts)
    inside = {i for group in piece for i in group}
    ends = (group[-1] for group in piece)
    beyond = lambda i: i == segment.target or not inside.issuperset(segment.consumers(i))  # noqa: E731
    return {i: made[i] for i in ends if beyond(i)}


def _groups_made(
    segment: Segment, groups: Sequence[Sequence[int]], made: Stores, parts: Parts
) -> Stores:
    """What is made already, and the nodes in which some groups end, each of those before it."""
    for group in groups:
        of = _needed(segment, group, made), parts.among(group)
        one = materialized(lambda of, group=group: _fused(segment, group, *of), of)
        made = made | {group[-1]: one}
    return made


def _needed(segment: Segment, nodes: Sequence[int], made: Stores) -> Stores:
    """Of all that is made, what some nodes take."""
    return {j: made[j] for i in nodes for j in segment.plan.nodes[i].inputs if j in made}


def _fused(segment: Segment, nodes: Sequence[int], made: Stores, parts: Parts) -> Pairs:
    """The last of some nodes, without storing those before it."""
    plan, made = segment.plan, dict(made)
    for i in nodes:
        given = tuple(_taken(segment, made[j], i, j, parts) for j in plan.nodes[i].inputs)
        one, two = parts.first.of(i), parts.second.of(i)
        pairs = parts.operations[i].pair(given, parts.masks[i], one, two, plan.step(i))
        made[i] = _with_halo(plan, pairs, i)
    return made[nodes[-1]]


def _pairs_of_run(segment: Segment, run: Run, pairs: Pairs, parts: Parts) -> Pairs:
    """All repetitions of a run, as a loop, which stores what it carries."""
    plan, end = segment.plan, run.block[-1]
    masks, parts = parts.masks, parts.among(run.block)
    repeated = run.operations(plan, pairs.moment.dtype), parts.first, parts.second

    def body(pairs: Pairs, of_block: Any) -> tuple[Pairs, None]:
        operations, first, second = of_block
        parts = Parts(operations, masks, first, second)
        groups = segment.groups(run.block[:-1])
        made = _groups_made(segment, groups, {run.entry: pairs}, parts)
        nodes = segment.ancestors(end, [i for i in run.block if i not in made])
        return _fused(segment, nodes, made, parts), None

    def loop(operands: Any) -> Pairs:
        return lax.scan(jax.checkpoint(body), *operands)[0]

    pairs = materialized(loop, (pairs, repeated))
    if plan.form(end) == plan.form(run.last):
        return pairs

    def last(pairs: Pairs) -> Pairs:
        plain = cropped(plan, end, pairs, NO_HALO * segment.rows[end].grid.ndim)
        return _with_halo(plan, plain, run.last)

    return materialized(last, pairs)


def _with_halo(plan: Plan, pairs: Pairs, i: int) -> Pairs:
    """A row of node i with the entries beyond its ends that its consumers read."""
    held = plan.held[i]

    def pad(array: Array) -> Array:
        if held.is_ring:
            return ringed(array, held.cross.periods, held.halo)
        wide = [*held.halo, *[(0, 0)] * (array.ndim - len(held.halo))]
        return jnp.pad(array, wide) if any(map(any, held.halo)) else array

    return pairs.map(pad)


def _taken(segment: Segment, pairs: Pairs, i: int, j: int, parts: Parts) -> Pairs:
    """What consumer i takes of its input j."""
    pairs = cropped(segment.plan, j, pairs, segment.halo(i, j))
    if not segment.changes(i, j):
        return pairs
    first, second = (side.variance(i, j) for side in (parts.first, parts.second))
    return resolved(segment.plan, i, j, pairs, first, second)


def _load(
    segment: Segment,
    i: int,
    pairs: Pairs | None,
    first: Contributions,
    second: Contributions,
    same: Array | None,
) -> Pairs:
    """One diagonal of a node where the segment starts."""
    step, shift, lanes = segment.plan.step(i), segment.rows[i].shift, first.lanes

    def fn(parts: Any) -> Pairs:
        pairs, *sides, same = parts
        first, second = (side.of(i) for side in sides)
        if pairs is None:
            term = squared_distance if step.in_distances else jnp.multiply
            moment = mean_over_channels(term, first, second)
            pairs = Pairs(moment)
        elif first is not None:
            zero = jnp.asarray(True)
            for d in shift:
                zero &= jnp.asarray(d) == 0
            itself = None if same is None else lanes.where(same, zero)
            pairs = _after_mixing(pairs, first, second, itself)
        return _with_halo(segment.plan, pairs, i)

    parts = pairs, first, second, same
    return materialized(fn, parts) if segment.is_kept(i) else fn(parts)


def cropped(plan: Plan, i: int, pairs: Pairs, halo: Halo) -> Pairs:
    """Rows of node i with no more than the given halo."""
    held = plan.held[i]
    crop = tuple(
        slice(low - a, low + period + b)
        for (low, _), (a, b), period in zip(held.halo, halo, held.cross.periods, strict=True)
    )
    return pairs.map(lambda array: array[crop])


def resolved(plan: Plan, i: int, j: int, pairs: Pairs, first: Array, second: Array) -> Pairs:
    """What consumer i takes of its input j, where it asks for covariances or whole tangents."""
    cov = covariance(first, second, pairs.moment)
    ntk = pairs.ntk
    if plan.is_resolved(i, j):
        ntk = added(ntk, cov)
    return Pairs(cov if plan.is_converted(i, j) else pairs.moment, ntk)


def _after_mixing(pairs: Pairs, first: Any, second: Any, same: Array | None) -> Pairs:
    """Distances, of what a mixing operation has summed (see `operations/mixing.py`)."""
    (e1, m1, mass1), (e2, m2, mass2) = first, second
    distance = pairs.moment - e1 - e2 + (mass1 - mass2) * (m1 - m2)
    distance = jnp.maximum(distance, 0.0)
    if same is not None:
        distance = jnp.where(same, 0.0, distance)
    return Pairs(distance, pairs.ntk)
