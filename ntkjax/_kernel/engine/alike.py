"""Whether the images of a call are alike in size, so that they need no scales of their own.

Scales keep the digits of points of very different sizes, and cost arithmetic for every pair. Most
data is normalised: the standard deviations of its images differ by some percent. A number in
float32, f(x) = 1 and f(x') = 0.5: from D, rounded to 6e-8, K is known to 6e-8 / 0.5 = 1.2e-7. So a
call whose arrays are known looks at all of its images first, which takes little beside their pairs.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.engine.images import Own, image_maps
from ntkjax._kernel.plan.plan import Plan

#: By which factor at most the largest image may exceed the smallest.
_RATIO = 3.0
#: And 1 either of them, so that squares stay far from the ends of the range of float32.
_SIZE = 1e3


def are_alike(plan: Plan, inputs: dict[int, Any], count: int) -> Array:
    """Whether these `count` images could all be held at scale 1; a scalar."""
    renewed = [i for i, renews in enumerate(plan.scales.renews) if renews]
    known = image_maps(plan.of_images, inputs, count, Own({}, {}, {}), end=renewed[-1] + 1)
    alike = jnp.asarray(True)
    for i in renewed:
        least, most = jnp.min(known.images[i].scale), jnp.max(known.images[i].scale)
        alike &= (most <= _RATIO * least) & (most < _SIZE) & (least > 1 / _SIZE)
        alike &= plan.nodes[i].operation.fits_unscaled(known.maps[i])
    return alike
