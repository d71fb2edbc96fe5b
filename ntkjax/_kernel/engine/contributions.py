"""What single images contribute to their pairs.

Variances, and all that is made of them, belong to one image: they are made once per image, and for
every diagonal seen once by all pairs that share it.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import jax
from jax import Array

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.lanes import Lanes
from ntkjax._kernel.algebra.state import NO_HALO, Halo, Row, Side
from ntkjax._kernel.plan.segment import Segment


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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Contributions:
    """What the images of one side contribute at every node of a segment.

    Attributes:
      images: by node; in a run, with the repetitions in front.
      variances: of an input that its consumer converts, by consumer and input.
      end: those of the target, if they are converted at the end.
      lanes: those of the pairs.
      side: whose images these are.
    """

    images: dict[int, Any]
    variances: dict[tuple[int, int], Array]
    end: Array | None
    lanes: Lanes = dataclasses.field(metadata={"static": True})
    side: Side = dataclasses.field(metadata={"static": True})

    def of(self, node: int) -> Any:
        """What the images contribute at a node, outside a run or in one repetition of it."""
        return self.lanes.spread(self.images.get(node), self.side)

    def variance(self, consumer: int, given: int) -> Array:
        """The variances of an input that its consumer converts."""
        return self.lanes.spread(self.variances[consumer, given], self.side)

    def end_variance(self) -> Array | None:
        """Those of the target, if they are converted at the end."""
        return self.lanes.spread(self.end, self.side)

    def among(self, nodes: Iterable[int]) -> "Contributions":
        """Those at some nodes alone."""
        some = set(nodes)
        images = {i: of_node for i, of_node in self.images.items() if i in some}
        variances = {key: var for key, var in self.variances.items() if key[0] in some}
        return dataclasses.replace(self, images=images, variances=variances, end=None)


def laid_out(
    segment: Segment, maps: Maps, lanes: Lanes, side: Side, end: Halo | None
) -> Contributions:
    """The maps of one side as `Side.see` wants them, of a segment at all its diagonals.

    `end` is the halo of the target where that is converted.
    """
    known = [i for i in segment.order if jax.tree.leaves(_maps(maps, i))]
    images = {i: side.laid_out(_maps(maps, i), *_seen(segment, i)) for i in known}
    variances = {
        (i, j): side.laid_out(maps[j].variance, segment.rows[j], segment.halo(i, j))
        for i in segment.order
        for j in segment.plan.nodes[i].inputs
        if not segment.is_source(i) and segment.changes(i, j)
    }
    at_end = None
    if end is not None:
        target = segment.target
        at_end = side.laid_out(maps[target].variance, segment.rows[target], end)
    return Contributions(images, variances, at_end, lanes, side)


def contributions(
    segment: Segment, given: Contributions, masks: dict[int, Any], end: Halo | None
) -> Contributions:
    """What the images of one side contribute on some diagonals, of maps that are laid out.

    `masks` are as the images of that side see them.

    All is stored, or XLA would make it anew for every pair; what is seen before what is made of it,
    or it would look for the diagonal anew for every tap.
    """
    side, lanes = given.side, given.lanes

    def seen(given: Contributions) -> Contributions:
        images = {i: side.see(maps, *_seen(segment, i)) for i, maps in given.images.items()}
        variances = {
            (i, j): side.see(var, segment.rows[j], segment.halo(i, j))
            for (i, j), var in given.variances.items()
        }
        at_end = given.end
        if end is not None:
            at_end = side.see(at_end, segment.rows[segment.target], end)
        return dataclasses.replace(given, images=images, variances=variances, end=at_end)

    def images(parts: Any) -> dict[int, Any]:
        seen, masks = parts
        kinds = {i: (segment.likeness(i), i in segment.repeated) for i in seen}
        programs = {kind: _program(segment, i, side) for i, kind in kinds.items()}
        on_each = {i: lanes.on_each(maps, side) for i, maps in seen.items()}
        return {i: programs[kinds[i]](maps, masks[i]) for i, maps in on_each.items()}

    moves = any(side.moves(d) for row in segment.rows.values() for d in row.shift)
    given = materialized(seen, given) if moves else seen(given)
    masked = {i: maps for i, maps in given.images.items() if masks.get(i) is not None}
    made = materialized(images, (masked, masks)) if masked else {}
    alike = jax.tree.map(lambda a: lanes.apart(a, side, 1), given)
    made = jax.tree.map(lambda a: lanes.apart(a, side, lanes.members), made)
    return dataclasses.replace(alike, images=alike.images | made)


def _program(segment: Segment, i: int, side: Side) -> Callable[[Any, Any], Any]:
    """`image` of an operation, of maps and masks: traced once for all nodes that are alike."""

    def image(maps: Any, masks: Any) -> Any:
        return segment.operation(i).image(maps, masks, side, segment.plan.step(i))

    return jax.jit(jax.vmap(image, (0, None)) if i in segment.repeated else image)


def _maps(maps: Maps, i: int) -> Any:
    """The maps that the pairs at a node see."""
    of_node = maps[i]
    known = (m for m in (of_node.images, of_node.mixing, of_node.operation) if m is not None)
    return next(known, None)


def _seen(segment: Segment, i: int) -> tuple[Row, Halo, int]:
    """The row on which a node's maps are seen, their halo, and the axes in front of a map."""
    if not segment.is_source(i):
        halo = segment.halo(i, segment.plan.nodes[i].inputs[0])
        return segment.below(i), halo, int(i in segment.repeated)
    row, is_input = segment.rows[i], segment.plan.nodes[i].operation is None
    return row, NO_HALO * row.grid.ndim, int(is_input)  # channels
