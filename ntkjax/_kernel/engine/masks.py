"""Which positions are masked at every node of a network.

That depends on masks alone, so it is found before anything else. Of five tokens, the last two of
which are masked (M), under a convolution with three taps, without padding, and a global pool:

    input  . . . M M        convolution  . . M        global pool  .
"""

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.batch import Batch
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.plan.plan import Plan


def propagated(plan: Plan, batches: dict[int, Batch]) -> dict[int, Array]:
    """The mask of every node, `[position per axis ..., image]`; none where no input has one."""
    masks = {
        i: _of_positions(batch.mask, plan.nodes[i].signal)
        for i, batch in batches.items()
        if batch.mask is not None
    }
    if not masks:
        return masks
    count = next(iter(masks.values())).shape[-1]
    for index, node in enumerate(plan.nodes):
        if index in batches:
            masks.setdefault(index, jnp.zeros((*node.signal.sizes, count), bool))
        else:
            given = tuple(masks[j] for j in node.inputs)
            masks[index] = node.operation.mask(given, node.signal)
    return masks


def _of_positions(mask: Array, signal: Signal) -> Array:
    """Where all channels of a position are masked."""
    axes = (signal.channel_axis, *signal.spatial_axes, signal.batch_axis)
    return jnp.all(jnp.transpose(mask, axes), axis=0)


def in_layout(mask: Array, signal: Signal) -> Array:
    """A mask as users see it: laid out as the activations, but for one channel."""
    axes = (signal.channel_axis, *signal.spatial_axes, signal.batch_axis)
    return jnp.transpose(mask[None], [axes.index(axis) for axis in range(len(axes))])
