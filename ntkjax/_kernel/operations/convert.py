"""Changes of the form in which a kernel is held, and the kernels that users see.

The planner puts a `Convert` wherever an operation takes another form than it is given, and a
`Reveal` at every output. No other operation converts.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals, put, rows_shape
from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.image import Image, on_positions
from ntkjax._kernel.algebra.operation import (
    Collector,
    Context,
    RowOperation,
    Seen,
    Step,
    operation,
    static,
    taken,
)
from ntkjax._kernel.algebra.pairs import Pairs, added, covariance, normalized_distance
from ntkjax._kernel.algebra.roots import safe_sqrt
from ntkjax._kernel.algebra.signal import Signal


@operation
class Convert(RowOperation):
    """The same kernel in another form: covariances of distances, whole tangents of excesses.

    K = (v1 + v2 - D) / 2,    Theta = (Theta - K) + K.
    """

    to: Form = static()

    works_unscaled = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return signals[0]

    def takes_distance(self, is_distance: bool) -> bool:
        return True

    def accepts(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> tuple[Form, ...]:
        return given

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return taken(given[0], self.to.is_distance, self.to.is_excess, ntk)

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Array]:
        (image,) = images
        var = image.required_variance()
        keeps = context.step.here.form.is_distance
        return image if keeps else image.with_variance(None), var

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,) = pairs
        cov = covariance(seen.first, seen.second, given.moment)
        ntk = given.ntk
        if step.given.is_excess and not step.here.form.is_excess and step.here.form.has_tangent:
            ntk = added(ntk, cov)
        return Pairs(given.moment if step.here.form.is_distance else cov, ntk)


@operation
class Reveal(RowOperation):
    """The kernel of f = s g, as users see it: covariances, whole tangents, perhaps distances.

    K = s1 s2 (v1 + v2 - D) / 2,    Theta = s1 s2 (...),

    and, with r the roots of v, the distance of the normalised f / (s r), which no scale changes.
    """

    with_distance: bool = static()

    works_unscaled = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return signals[0]

    def takes_distance(self, is_distance: bool) -> bool:
        return self.with_distance

    def accepts(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> tuple[Form, ...]:
        (form,) = given
        return (form if form.is_distance else taken(form, False, False, ntk),)

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return Form(False, ntk, has_distance=self.with_distance)

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Any]:
        (image,) = images
        scale = on_positions(image.scale, context.step.below.ndim + 1)
        ones = Image(jnp.ones_like(image.scale), None, image.data)
        var = image.variance
        std = safe_sqrt(var) if self.with_distance and var is not None else None
        return ones, (None if context.step.is_unscaled else scale, var, std)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,) = pairs
        nothing: Any = (None, None, None)  # as of images of scale 1 in covariance form
        (s1, v1, r1), (s2, v2, r2) = seen.first or nothing, seen.second or nothing
        cov = covariance(v1, v2, given.moment) if step.given.is_distance else given.moment
        ntk = given.ntk
        if step.here.form.has_tangent:
            ntk = added(ntk, cov) if step.given.is_excess else ntk
            ntk = jnp.zeros_like(cov) if ntk is None else ntk
        has_distance = step.here.form.has_distance
        distance = normalized_distance(given.moment, r1, r2) if has_distance else None
        if step.is_unscaled:
            return Pairs(cov, ntk, distance)
        # One factor after the other, so that no product is out of range unless the kernel is.
        return Pairs(s2 * (s1 * cov), None if ntk is None else s2 * (s1 * ntk), distance)


@operation
class Output(Collector):
    """All diagonals of an output, as they are."""

    works_unscaled = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return signals[0]

    def accepts(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> tuple[Form, ...]:
        return given

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return given[0]

    def start(self, below: Diagonals, here: Diagonals, lanes: tuple[int, ...]) -> tuple[int, ...]:
        return rows_shape(here, lanes)

    def add(
        self, total: Array, rows: Array, shift: Any, lanes: tuple[Any, ...], below: Diagonals,
        here: Diagonals,
    ) -> Array:  # fmt: skip
        return put(total, rows, shift, lanes, here)

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, None]:
        return images[0], None
