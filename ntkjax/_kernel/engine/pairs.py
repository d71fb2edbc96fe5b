"""The pairs on a diagonal: from where a segment starts to its targets, layer by layer.

Where several diagonals are made together, they share the lanes (`lanes.py`).

Two points that are nearly opposite, u = (1, 0) and v = (-1, 0.0001), have D = 4 but for 1e-8, which
float32 rounds away: their angle is lost. E (u + v)^2 = 1e-8 / 2 keeps it. So the first nonlinearity
is handed this supplement, made from the inputs as D is, for the blocks that hold such pairs.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import materialized, recomputed
from ntkjax._kernel.algebra.diagonals import entry
from ntkjax._kernel.algebra.operation import Step
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.sides import NO_HALO, Halo, ringed
from ntkjax._kernel.engine.contributions import Parts
from ntkjax._kernel.plan.plan import Plan
from ntkjax._kernel.plan.runs import Run, in_pieces
from ntkjax._kernel.plan.segment import Segment

Stores = dict[int, Pairs]
#: So many groups of nodes are not made a third time for gradients: to store a block of pairs for
#: each takes little memory.
FEW = 16


def loaded(segment: Segment, stores: Stores) -> Stores:
    """The diagonals of the nodes where a segment starts, of those held on several."""

    def load(i: int) -> Pairs:
        grid = segment.plan.places[i].cross
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


def pairs_of(segment: Segment, given: Stores, parts: Parts) -> Stores:
    """The diagonals of the targets, of the pairs of these images.

    `given` are the stored diagonals from which the segment starts.
    """
    made: Stores = {}
    for i in segment.order:
        if segment.is_source(i):
            of = (given[i],) if i in given else ()
            made[i] = _source(segment, i, of, parts.among([i]))
    nodes: list[int] = []
    for i in segment.order:
        if i in segment.runs:
            run = segment.runs[i]
            made = _made(segment, nodes, made, parts)
            made[run.last], nodes = _pairs_of_run(segment, run, made[run.entry], parts), []
        elif i not in made and i not in segment.repeated:
            nodes.append(i)
    made = _made(segment, nodes, made, parts)
    return {i: made[i] for i in segment.targets}


def _source(segment: Segment, i: int, of: tuple[Pairs, ...], parts: Parts) -> Pairs:
    """One diagonal of a node where the segment starts."""

    def fn(operands: Any) -> Pairs:
        of, parts = operands
        pairs = parts.operations[i].pair(of, parts.seen(i), segment.step(i))
        return _with_halo(segment.plan, pairs, i)

    return materialized(fn, (of, parts)) if segment.is_kept(i) else fn((of, parts))


def _made(segment: Segment, nodes: Sequence[int], made: Stores, parts: Parts) -> Stores:
    """What is made already, and those of some nodes that are kept.

    For gradients, n layers store what some 2 sqrt(n) of them begin with: the nodes are made in
    pieces, each of which, backwards, is made again while its turn lasts. Few layers store all.
    """
    groups = segment.groups(nodes)
    if len(groups) <= FEW:
        return _groups_made(segment, groups, made, parts)
    for piece in in_pieces(groups):
        inside = [i for group in piece for i in group]
        of = _needed(segment, inside, made), parts.among(_with_supplements(segment, inside))
        made = made | materialized(lambda of, piece=piece: _read_beyond(segment, piece, *of), of)
    return made


def _read_beyond(
    segment: Segment, piece: Sequence[Sequence[int]], made: Stores, parts: Parts
) -> Stores:
    """Of the nodes in which the groups of a piece end, those that are needed after it."""
    made = _groups_made(segment, piece, made, parts)
    inside = {i for group in piece for i in group}
    ends = (group[-1] for group in piece)
    beyond = lambda i: i in segment.targets or not inside.issuperset(segment.consumers(i))  # noqa: E731
    return {i: made[i] for i in ends if beyond(i)}


def _groups_made(
    segment: Segment, groups: Sequence[Sequence[int]], made: Stores, parts: Parts
) -> Stores:
    """What is made already, and the nodes in which some groups end, each of those before it."""
    for group in groups:
        of = _needed(segment, group, made), parts.among(_with_supplements(segment, group))
        one = materialized(lambda of, group=group: _fused(segment, group, *of), of)
        made = made | {group[-1]: one}
    return made


def _with_supplements(segment: Segment, nodes: Sequence[int]) -> list[int]:
    """Some nodes, and those that the supplements of some of them are made of."""
    more = {j for i in nodes for j in segment.supplement(i)}
    return sorted(more.union(nodes))


def _needed(segment: Segment, nodes: Sequence[int], made: Stores) -> Stores:
    """Of all that is made, what some nodes take."""
    return {j: made[j] for i in nodes for j in segment.plan.nodes[i].inputs if j in made}


def _fused(segment: Segment, nodes: Sequence[int], made: Stores, parts: Parts) -> Pairs:
    """The last of some nodes, without storing those before it."""
    made = dict(made)
    for i in nodes:
        given = tuple(_taken(segment, made[j], i, j) for j in segment.plan.nodes[i].inputs)
        pairs = _pairs_of_node(segment, i, given, parts)
        made[i] = _with_halo(segment.plan, pairs, i)
    return made[nodes[-1]]


def _pairs_of_node(segment: Segment, i: int, given: tuple[Pairs, ...], parts: Parts) -> Pairs:
    """The pairs of one node; of a block with nearly opposite pairs, with their supplement."""
    operation, step, seen = parts.operations[i], segment.step(i), parts.seen(i)
    nodes = segment.supplement(i)
    if not nodes:
        return operation.pair(given, seen, step)
    # Made again on the way back: kept, what it is made of would be zeros where it is not wanted.
    supplemented = recomputed(
        lambda given, parts: operation.pair(
            given, parts.seen(i), step, _supplement(segment, i, nodes, parts)
        )
    )
    return lax.cond(
        operation.needs_supplement(given, seen, step),
        supplemented,
        lambda given, parts: operation.pair(given, seen, step),
        given,
        parts,
    )


def _supplement(segment: Segment, i: int, nodes: Sequence[int], parts: Parts) -> Array:
    """E (g + g')^2 of the input of node i, through some nodes from the inputs of the network."""
    plan = segment.plan
    made: Stores = {}
    for j in nodes:
        step = segment.step(j)
        here = dataclasses.replace(step.here, form=step.here.form.without_tangent())
        step = dataclasses.replace(step, here=here, is_supplement=True)

        def fn(operands: Any, j: int = j, step: Step = step) -> Pairs:
            made, parts = operands
            of = tuple(_taken(segment, made[k], j, k) for k in plan.nodes[j].inputs)
            return _with_halo(plan, parts.operations[j].pair(of, parts.seen(j), step), j)

        operands = _needed(segment, [j], made), parts.among([j])
        made[j] = materialized(fn, operands) if segment.is_kept(j) else fn(operands)
    (below,) = plan.nodes[i].inputs
    return _taken(segment, made[below], i, below).moment


def _pairs_of_run(segment: Segment, run: Run, pairs: Pairs, parts: Parts) -> Pairs:
    """All repetitions of a run, as a loop, which stores what it carries."""
    plan, end = segment.plan, run.block[-1]
    same, masks, parts = parts.same, parts.masks, parts.among(run.block)
    repeated = run.operations(plan, pairs.moment.dtype), parts.first, parts.second

    def body(pairs: Pairs, of_block: Any) -> tuple[Pairs, None]:
        operations, first, second = of_block
        parts = Parts(operations, masks, first, second, same)
        groups = segment.groups(run.block[:-1])
        made = _groups_made(segment, groups, {run.entry: pairs}, parts)
        nodes = segment.ancestors(end, [i for i in run.block if i not in made])
        return _fused(segment, nodes, made, parts), None

    def loop(operands: Any) -> Pairs:
        return lax.scan(recomputed(body), *operands)[0]

    pairs = materialized(loop, (pairs, repeated))
    if plan.places[end].halo == plan.places[run.last].halo and (
        plan.places[end].is_ring == plan.places[run.last].is_ring
    ):
        return pairs

    def last(pairs: Pairs) -> Pairs:
        plain = cropped(plan, end, pairs, NO_HALO * segment.rows[end].grid.ndim)
        return _with_halo(plan, plain, run.last)

    return materialized(last, pairs)


def _with_halo(plan: Plan, pairs: Pairs, i: int) -> Pairs:
    """A row of node i with the entries beyond its ends that its consumers read."""
    place = plan.places[i]

    def pad(array: Array) -> Array:
        if place.is_ring:
            return ringed(array, place.cross.periods, place.halo)
        wide = [*place.halo, *[(0, 0)] * (array.ndim - len(place.halo))]
        return jnp.pad(array, wide) if any(map(any, place.halo)) else array

    return pairs.map(pad)


def _taken(segment: Segment, pairs: Pairs, i: int, j: int) -> Pairs:
    """What consumer i takes of its input j."""
    return cropped(segment.plan, j, pairs, segment.halo(i, j))


def cropped(plan: Plan, i: int, pairs: Pairs, halo: Halo) -> Pairs:
    """Rows of node i with no more than the given halo."""
    place = plan.places[i]
    crop = tuple(
        slice(low - a, low + period + b)
        for (low, _), (a, b), period in zip(place.halo, halo, place.cross.periods, strict=True)
    )
    return pairs.map(lambda array: array[crop])
