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
from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.lanes import Lanes
from ntkjax._kernel.algebra.operation import Seen
from ntkjax._kernel.algebra.sides import Side
from ntkjax._kernel.plan.segment import Segment


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ImageMaps:
    """What is known of single images at every node of a network.

    Attributes:
      images: what belongs to the images after the node; within runs of their last nodes alone.
      maps: what their pairs need, `[position per axis ..., *lanes]`; in a run, those of its block
        have the repetitions in front.
    """

    images: dict[int, Image]
    maps: dict[int, Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Contributions:
    """What the images of one side contribute at every node of a segment.

    Attributes:
      images: by node; in a run, with the repetitions in front.
      lanes: those of the pairs.
      side: whose images these are.
    """

    images: dict[int, Any]
    lanes: Lanes = dataclasses.field(metadata={"static": True})
    side: Side = dataclasses.field(metadata={"static": True})

    def of(self, node: int) -> Any:
        """What the images contribute at a node, outside a run or in one repetition of it."""
        return self.lanes.spread(self.images.get(node), self.side)

    def among(self, nodes: Iterable[int]) -> "Contributions":
        """Those at some nodes alone."""
        some = set(nodes)
        images = {i: of_node for i, of_node in self.images.items() if i in some}
        return dataclasses.replace(self, images=images)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Parts:
    """What a segment's nodes need to compute pair kernels, besides their inputs.

    Attributes:
      operations: the operation of each node; of a run, its numbers stacked along the repetitions.
      masks: what depends on the diagonal alone.
      first: what first images contribute.
      second: what second images contribute.
      same: which pairs are of one image with itself; None if none is.
    """

    operations: dict[int, Any]
    masks: dict[int, Any]
    first: Contributions
    second: Contributions
    same: Array | None

    def among(self, nodes: Iterable[int]) -> "Parts":
        """Those of some nodes alone."""
        nodes = list(nodes)
        return Parts(
            {i: self.operations[i] for i in nodes},
            {i: self.masks[i] for i in nodes if i in self.masks},
            self.first.among(nodes),
            self.second.among(nodes),
            self.same,
        )

    def seen(self, i: int) -> Seen:
        """Those of one node, as its pairs see them."""
        lanes = self.first.lanes
        same = None if self.same is None else lanes.of_same(self.same)
        return Seen(self.masks.get(i), self.first.of(i), self.second.of(i), same)


def laid_out(segment: Segment, maps: ImageMaps, lanes: Lanes, side: Side) -> Contributions:
    """The maps of one side as `Side.see` wants them, of a segment at all its diagonals."""
    known = [
        i
        for i in segment.order
        if jax.tree.leaves(maps.maps.get(i)) and not segment.operation(i).is_seen_whole
    ]
    images = {
        i: side.laid_out(maps.maps[i], *segment.maps_row(i), segment.map_axes(i)) for i in known
    }
    return Contributions(images, lanes, side)


def contributions(segment: Segment, given: Contributions, masks: dict[int, Any]) -> Contributions:
    """What the images of one side contribute on some diagonals, of maps that are laid out.

    `masks` are as the images of that side see them.

    All is stored, or XLA would make it anew for every pair; what is seen before what is made of it,
    or it would look for the diagonal anew for every tap.
    """
    side, lanes = given.side, given.lanes

    def see(given: Contributions) -> Contributions:
        images = {
            i: side.see(maps, *segment.maps_row(i), segment.map_axes(i))
            for i, maps in given.images.items()
        }
        return dataclasses.replace(given, images=images)

    def images(parts: Any) -> dict[int, Any]:
        seen, masks = parts
        keys = {i: (segment.key(i), i in segment.repeated) for i in seen}
        programs = {key: _program(segment, i, side) for i, key in keys.items()}
        on_each = {i: lanes.on_each(maps, side) for i, maps in seen.items()}
        return {i: programs[keys[i]](maps, masks[i]) for i, maps in on_each.items()}

    moves = any(side.moves(d) for row in segment.rows.values() for d in row.shift)
    given = materialized(see, given) if moves else see(given)
    masked = {i: maps for i, maps in given.images.items() if masks.get(i) is not None}
    made = materialized(images, (masked, masks)) if masked else {}
    alike = jax.tree.map(lambda a: lanes.apart(a, side, 1), given)
    made = jax.tree.map(lambda a: lanes.apart(a, side, lanes.members), made)
    return dataclasses.replace(alike, images=alike.images | made)


def _program(segment: Segment, i: int, side: Side) -> Callable[[Any, Any], Any]:
    """`seen` of an operation, of maps and masks: traced once for all nodes that are alike."""

    def seen(maps: Any, masks: Any) -> Any:
        return segment.operation(i).seen(maps, masks, side, segment.step(i))

    return jax.jit(jax.vmap(seen, (0, None)) if i in segment.repeated else seen)
