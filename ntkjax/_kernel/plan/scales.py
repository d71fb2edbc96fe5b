"""Where the images of a network get a new scale, and which affine maps each scale will meet.

Linear maps and positively homogeneous nonlinearities commute with a scale, so most nodes keep that
of their input; inputs, other nonlinearities, and sums of branches of different scales start a new
one. It is chosen once, with the biases ahead in mind (see `new_scale` in `algebra/image.py`).
"""

import dataclasses

from ntkjax._kernel.algebra.graph import Node


@dataclasses.dataclass(frozen=True)
class Scales:
    """The scales of a network.

    Attributes:
      renews: for every node, whether it starts a scale.
      ahead: for every node that does, the affine maps that share the scale, in order.
    """

    renews: tuple[bool, ...]
    ahead: dict[int, tuple[int, ...]]


def find_scales(nodes: tuple[Node, ...], is_unscaled: bool) -> Scales:
    """The scales of the nodes of a plan."""
    if is_unscaled:
        return Scales((False,) * len(nodes), {})
    names: list[int] = []
    ahead: dict[int, tuple[int, ...]] = {}
    for i, node in enumerate(nodes):
        given = tuple(names[j] for j in node.inputs)
        renews = not given or node.operation.renews_scale(given)
        names.append(i if renews else given[0])
        ahead.setdefault(names[i], ())
        if node.operation.affine_variances() is not None and not renews:
            ahead[names[i]] += (i,)
    renews = tuple(name == i for i, name in enumerate(names))
    return Scales(renews, ahead)
