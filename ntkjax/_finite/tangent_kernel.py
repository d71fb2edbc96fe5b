"""J(x1) J(x2)' of one output of a network, tile by tile.

Gradients are held as `factors` says, of as many rows at a time as `tiles` says.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._finite.dependence import EXAMPLE, ONCE, ROW
from ntkjax._finite.factors import Cost, Factors, Network, factors, networks, product, pull
from ntkjax._finite.footprint import Footprint, footprint
from ntkjax._finite.implementation import NtkImplementation
from ntkjax._finite.loops import added, merged, numbers, over, over_rows
from ntkjax._finite.networks import Side
from ntkjax._finite.output_axes import OutputAxes
from ntkjax._finite.program import traced
from ntkjax._finite.sites import sites
from ntkjax._finite.tiles import Places, Rows, Take, Tiles, choose_tiles


class Plan(NamedTuple):
    """How a tangent kernel is computed: the networks of either side, and the tiles."""

    networks: list[Network]
    tiles: Tiles
    places: Places
    work: float


def places_of(axes: OutputAxes) -> Places:
    """How many places of each kind there are in the outputs."""
    shapes = (axes.paired_shape(axes.shape1), axes.paired_shape(axes.shape2))
    shared = (axes.diagonal_shape, axes.traced_shape)
    return Places(*map(math.prod, (*shapes, *shared)))


def plan_of(
    axes: OutputAxes,
    leaves: Sequence[Array],
    sides: Sequence[Side],
    implementation: NtkImplementation,
    budget: float,
) -> Plan:
    """The plan for the examples of one or two sides; it depends on shapes alone."""
    programs = [traced(side.network, list(leaves), side.example) for side in sides]
    places, count = places_of(axes), len(leaves)
    structured = implementation != NtkImplementation.JACOBIAN_CONTRACTION
    found = [sites(program, count) if structured else [] for program in programs]
    shared = places.diagonal * places.traced
    cost = Cost(sides[0].count, sides[-1].count, places.paired1, places.paired2, shared)
    made = networks(programs, count, found, cost)
    takes = [
        Take(side.count, paired, backward_footprint(network, leaves, side))
        for side, network, paired in zip(sides, made, places[:2], strict=False)
    ]
    size = max(leaf.dtype.itemsize for leaf in leaves)
    positions = [
        s.groups * s.positions * t.positions
        for s, t in zip(made[0].pairs, made[-1].pairs, strict=True)
    ]
    pair = size * (2 + max([n for n in positions if n > 1], default=0))
    tiles = choose_tiles(takes[0], takes[1] if len(takes) > 1 else None, places, pair, budget)
    entries = sum(
        math.prod(leaf.shape)
        for i, leaf in enumerate(leaves)
        if i not in {site.leaf for site in made[0].pairs}
    )
    pairs = zip(made[0].pairs, made[-1].pairs, strict=True)
    work = tiles.work + cost.of_gradients(entries) + sum(cost.of_pairs(s, t) for s, t in pairs)
    return Plan(made, tiles, places, work)


def backward_footprint(network: Network, leaves: Sequence[Array], side: Side) -> Footprint:
    """What the factors of one row of one example take."""
    output = jax.ShapeDtypeStruct(
        network.program.shape(network.program.outputs[0]),
        network.program.dtype(network.program.outputs[0]),
    )

    def one(leaves: Any, example: Any, cotangent: Any) -> Any:
        x, row = pull(network, leaves, example)
        return x, row(cotangent)

    program = traced(one, list(leaves), side.example, output)
    kinds = [ONCE] * len(leaves) + [EXAMPLE] * len(side.example) + [ROW]
    return footprint(program, kinds)


def tangent_kernel(
    axes: OutputAxes, leaves: Sequence[Array], sides: Sequence[Side], plan: Plan
) -> Array:
    """The kernel `(examples1, examples2, *kernel of a pair)`; x1 = x2 where there is one side."""
    tiles, places = plan.tiles, plan.places
    first, second = sides[0], sides[-1]

    def gradients(k: int, some: Array, paired: Array, shared: Any) -> Factors:
        """Of some examples of one side, all at once."""
        network = plan.networks[k]
        shape = (axes.shape1, axes.shape2)[k if len(sides) > 1 else 0]
        dtype = network.program.dtype(network.program.outputs[0])
        diagonal, traced = shared
        cotangents = axes.cotangents(shape, paired, diagonal, traced, dtype)
        return jax.vmap(lambda example: factors(network, leaves, example, cotangents))(
            sides[k].some(some)
        )

    def of_tile(shared: Any, some: Array, paired: Array) -> Array:
        """The rows of a tile: (examples1, examples2, diagonal, paired1, paired2)."""

        def kept(some: Array, paired: Array) -> Factors:
            return gradients(0, some, paired, shared)

        network = plan.networks[0]
        rest = len(leaves) - len(network.pairs)
        pairs = len(network.pairs)
        axes_of: list[Any] = [[(0, None)] * pairs, [(0, 1)] * pairs, [(0, 1)] * rest]
        at = Factors(*axes_of)
        rows = over_rows(kept, tiles.chunk1, some, paired, at)
        if len(sides) == 1 and len(some) >= first.count and len(paired) >= places.paired1:
            return product(rows, rows)

        def columns(some: Array, paired: Array) -> Array:
            return product(rows, gradients(len(sides) - 1, some, paired, shared))

        return _over_all(columns, tiles.chunk2, second.count, places.paired2, (1, 4))

    def of_places(diagonal: Array, traced: Array) -> Array:
        def rows(some: Array, paired: Array) -> Array:
            return of_tile((diagonal, traced), some, paired)

        made = _over_all(rows, tiles.tile, first.count, places.paired1, (0, 3))
        return made[: first.count, : second.count, :, : places.paired1, : places.paired2]

    def of_diagonal(diagonal: Array) -> Array:
        return added(
            lambda traced: of_places(diagonal, traced), numbers(places.traced, tiles.traced)
        )

    blocks = merged(over(of_diagonal, numbers(places.diagonal, tiles.diagonal)), 2)
    return jax.vmap(jax.vmap(axes.assemble))(blocks / places.traced)


def _over_all(function: Any, rows: Rows, examples: int, paired: int, at: tuple[int, int]) -> Array:
    """An array of all examples and places, and a few again behind them where parts are even."""
    return over_rows(
        function,
        rows,
        jnp.asarray(numbers(examples, rows.examples).ravel()),
        jnp.asarray(numbers(paired, rows.paired).ravel()),
        at,
    )
