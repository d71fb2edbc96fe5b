"""Tokens: inputs are indices into a table of random vectors.

K = w [x_p = x'_q], of tokens that are in the table; others have the zero vector. Images keep the
scale of their numbers no longer: it is 1 from here on. With k = 1 where a token is known,

    v = w k,    D = w (k1 + k2 - 2 k1 k2 [x_p = x'_q]).
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.image import VALUES, Image, on_positions
from ntkjax._kernel.algebra.operation import (
    Context,
    LayerError,
    RowOperation,
    Seen,
    Step,
    operation,
    static,
)
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.signal import Signal


class _Maps(NamedTuple):
    """What pairs need of an image."""

    token: Array
    known: Array  # 1 or 0


@operation
class TokenTable(RowOperation):
    """Random vectors of tokens, right above an input."""

    weight_var: float | Array
    count: int = static()
    channels: int = static()

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        if signal.channels != 1:
            raise LayerError(
                f"its input has shape {signal.shape1}, expected tokens with one channel, such as "
                "(batch, time, 1); x[..., None] is that of tokens (batch, time)."
            )
        return dataclasses.replace(
            signal.with_channels(self.channels),
            is_gaussian=True,
            sources=frozenset({source}),
            is_nonnegative=True,
        )

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return Form(is_distance, ntk)

    def renews_scale(self, scales: tuple[int, ...]) -> bool:
        return True

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, _Maps]:
        (image,) = images
        values = image.data[VALUES][0]
        token = jnp.round(values * on_positions(image.scale, values.ndim))
        known = ((token >= 0) & (token < self.count)).astype(values.dtype)
        variance = self.weight_var * known if context.step.here.form.is_distance else None
        return Image(jnp.ones_like(image.scale), variance, image.data), _Maps(token, known)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        first, second, form = seen.first, seen.second, step.here.form
        both = first.known * second.known
        same = jnp.where(first.token == second.token, both, 0.0)
        cov = self.weight_var * same
        moment: Any = cov
        if form.is_distance:
            moment = self.weight_var * (first.known + second.known - 2 * same)
        return Pairs(moment, cov if form.has_tangent else None)
