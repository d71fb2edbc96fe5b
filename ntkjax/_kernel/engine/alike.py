"""Whether the images of a call are alike in size, so that they need no scales of their own.

Scales keep the digits of points of very different sizes, and cost arithmetic for every pair. Most
data is normalised: the standard deviations of its images differ by some percent. A number in
float32, f(x) = 1 and f(x') = 0.5: from D, rounded to 6e-8, K is known to 6e-8 / 0.5 = 1.2e-7. So a
call whose arrays are known looks at all of its images first, which takes little beside their pairs.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.batch import Batch
from ntkjax._kernel.engine.images import Own, image_maps
from ntkjax._kernel.plan.plan import Plan

#: By which factor at most the largest image may exceed the smallest.
_RATIO = 3.0
#: And 1 either of them, so that squares stay far from the ends of the range of float32.
_SIZE = 1e3


def are_alike(plan: Plan, batches: Sequence[dict[int, Batch]], counts: Sequence[int]) -> Array:
    """Whether the images of some batches could all be held at scale 1; a scalar."""
    renewed = [i for i, renews in enumerate(plan.scales.renews) if renews]
    end, nothing = renewed[-1] + 1, Own({}, {}, {})
    known = [
        image_maps(plan.of_images, batch, count, nothing, end=end)
        for batch, count in zip(batches, counts, strict=True)
    ]

    def joined(of_batches: list[Any]) -> Any:
        """Of all images, what is known of each batch."""
        return jax.tree.map(lambda *arrays: jnp.concatenate(arrays, -1), *of_batches)

    alike = jnp.asarray(True)
    for i in renewed:
        scale = joined([of_batch.images[i].scale for of_batch in known])
        least, most = jnp.min(scale), jnp.max(scale)
        alike &= (most <= _RATIO * least) & (most < _SIZE) & (least > 1 / _SIZE)
        alike &= plan.nodes[i].operation.fits_unscaled(joined([one.maps[i] for one in known]))
    return alike
