"""What single images contribute to their pairs.

Variances, and all that is made of them, belong to one image: they are made once per image, and for
every diagonal seen once by all pairs that share it. Layers that are alike are seen together, their
maps stacked, so that a deep network is a small program.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.boundary import materialized
from ntkjax._kernel.operation import static
from ntkjax._kernel.segment import Segment
from ntkjax._kernel.state import NO_HALO, Halo, Row, Side


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ImageMaps:
    """What is known of single images at one place: maps `[position per axis ..., *lanes]`.

    In a run, the maps of its block have the repetitions in front.

    Attributes:
      variance: K[p, p]; None in covariance form and inside runs.
      images: the inputs themselves, channels in front; only at inputs.
      mixing: e, m and A of a mixing operation; only in distance form.
      operation: what the operation of the place needs of its input.
    """

    variance: Array | None = None
    images: Array | None = None
    mixing: tuple[Array, Array, Array] | None = None
    operation: Any = None


Maps = dict[int, ImageMaps]


def spread(maps: Any, axis: int | None) -> Any:
    """Maps of the images of one side as maps of pairs, which have the other side's at `axis`."""
    return maps if axis is None else jax.tree.map(lambda a: jnp.expand_dims(a, axis), maps)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Contributions:
    """What the images of one side contribute at every node of a segment.

    Attributes:
      stacks: by the first node of those that are alike, what all of them contribute; in a run,
        behind the repetitions.
      variances: of an input that its consumer converts, by consumer and input.
      places: for each node, the first of those like it, and its place among them.
      axis: where the lanes of the pairs have the images of the other side; None for no pairs.
    """

    stacks: dict[int, Any]
    variances: dict[tuple[int, int], Array]
    places: tuple[tuple[int, tuple[int, int]], ...] = static()
    axis: int | None = static()

    def of(self, node: int) -> Any:
        """What the images contribute at a node, outside a run or in one repetition of it."""
        places = dict(self.places)
        if node not in places:
            return None
        first, index = places[node]
        return spread(jax.tree.map(lambda stack: stack[index], self.stacks[first]), self.axis)

    def variance(self, consumer: int, given: int) -> Array:
        """The variances of an input that its consumer converts."""
        return spread(self.variances[consumer, given], self.axis)

    def among(self, nodes: Iterable[int]) -> "Contributions":
        """Those at some nodes alone."""
        places = tuple((i, place) for i, place in self.places if i in set(nodes))
        stacks = {first: self.stacks[first] for _, (first, _) in places}
        variances = {key: var for key, var in self.variances.items() if key[0] in set(nodes)}
        return dataclasses.replace(self, stacks=stacks, variances=variances, places=places)


def laid_out(segment: Segment, maps: Maps, side: Side, axis: int | None) -> Contributions:
    """The maps of one side as `Side.see` wants them, of a segment at all its diagonals."""
    groups: dict[Any, list[int]] = {}
    for i in segment.order:
        if jax.tree.leaves(_maps(maps, i)):
            groups.setdefault(_kind(segment, maps, i), []).append(i)
    stacks = {}
    for nodes in groups.values():
        behind = int(nodes[0] in segment.repeated)
        stack = jax.tree.map(
            lambda *a, behind=behind: jnp.stack(a, behind), *(_maps(maps, i) for i in nodes)
        )
        stacks[nodes[0]] = side.laid_out(stack, *_seen(segment, nodes[0]))
    variances = {
        (i, j): side.laid_out(maps[j].variance, segment.rows[j], segment.halo(i, j))
        for i in segment.order
        for j in segment.plan.nodes[i].inputs
        if not segment.is_source(i) and segment.changes(i, j)
    }
    places = tuple((i, (group[0], k)) for group in groups.values() for k, i in enumerate(group))
    return Contributions(stacks, variances, places, axis)


def contributions(
    segment: Segment, given: Contributions, masks: dict[int, Any], side: Side
) -> Contributions:
    """What the images of one side contribute on one diagonal, of maps that are laid out.

    All is stored, or XLA would make it anew for every pair; what is seen before what is made of it,
    or it would look for the diagonal anew for every tap.
    """

    def seen(given: Contributions) -> Contributions:
        stacks = {i: side.see(stack, *_seen(segment, i)) for i, stack in given.stacks.items()}
        variances = {
            (i, j): side.see(var, segment.rows[j], segment.halo(i, j))
            for (i, j), var in given.variances.items()
        }
        return dataclasses.replace(given, stacks=stacks, variances=variances)

    def images(parts: Any) -> dict[int, Any]:
        stacks, masks = parts
        made = {}
        for i, stack in stacks.items():
            image = lambda seen, i=i: segment.operation(i).image(  # noqa: E731
                seen, masks[i], side, segment.plan.step(i)
            )
            for _ in range(1 + (i in segment.repeated)):
                image = jax.vmap(image)
            made[i] = image(stack)
        return made

    moves = any(side.moves(d) for row in segment.rows.values() for d in row.shift)
    given = materialized(seen, given) if moves else seen(given)
    masked = {i: stack for i, stack in given.stacks.items() if masks.get(i) is not None}
    made = materialized(images, (masked, masks)) if masked else {}
    return dataclasses.replace(given, stacks=given.stacks | made)


def _maps(maps: Maps, i: int) -> Any:
    """The maps that the pairs at a node see."""
    of_node = maps[i]
    known = (m for m in (of_node.images, of_node.mixing, of_node.operation) if m is not None)
    return next(known, None)


def _seen(segment: Segment, i: int) -> tuple[Row, Halo, int]:
    """The row on which a node's maps are seen, their halo, and the axes in front of a stack."""
    if not segment.is_source(i):
        return (
            segment.below(i),
            segment.halo(i, segment.plan.nodes[i].inputs[0]),
            1 + (i in segment.repeated),
        )
    row, is_input = segment.rows[i], segment.plan.nodes[i].operation is None
    return row, NO_HALO * row.grid.ndim, 1 + is_input  # channels


def _kind(segment: Segment, maps: Maps, i: int) -> Any:
    """What nodes agree in whose maps are stacked."""
    if segment.is_source(i):
        return i
    leaves, structure = jax.tree.flatten(_maps(maps, i))
    return segment.likeness(i), segment.repeated.get(i), structure, tuple(map(jnp.shape, leaves))
