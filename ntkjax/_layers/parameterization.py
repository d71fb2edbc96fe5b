"""How weights are scaled: the `ntk` and the `standard` parameterization, as values.

Both give the same distribution of functions at initialization. They differ in which factors belong
to the parameters, and so in how fast gradient descent moves each (see `Affine`).
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array, random

from ntkjax._kernel.algebra.shared import squared
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.operations.affine import Affine
from ntkjax._layers.checks import check_choice, check_count, check_number, show
from ntkjax._layers.finite import known_shape

Scalar = float | Array


@dataclasses.dataclass(frozen=True)
class Scales:
    """Standard deviations of a layer's weights and biases, and who carries them.

    Attributes:
      w_std: standard deviation of the sum over a unit input of weights, sigma_w.
      b_std: standard deviation of the biases, sigma_b; None for no bias.
      is_standard: whether the parameters carry these scales (`standard`) or the layer (`ntk`).
      s: width scalings of input and output in the standard parameterization.
      layer: its name, for messages.
    """

    w_std: Scalar
    b_std: Scalar | None
    is_standard: bool
    s: tuple[int, int]
    layer: str

    @classmethod
    def check(cls, layer: str, w_std: Any, b_std: Any, parameterization: Any, s: Any) -> "Scales":
        """From the arguments of a layer."""
        kind = check_choice(layer, "parameterization", parameterization, ("ntk", "standard"))
        if not isinstance(s, (tuple, list)) or len(s) != 2:
            raise ValueError(
                f"{layer}: s={describe(s)}, expected two width scalings (input, output)."
            )
        widths = (check_count(layer, "s[0]", s[0]), check_count(layer, "s[1]", s[1]))
        return cls(
            check_number(layer, "W_std", w_std),
            None if b_std is None else check_number(layer, "b_std", b_std),
            kind == "standard",
            widths,
            layer,
        )

    def affine(self, channels: int, receptive: int = 1, groups: int = 1) -> Affine:
        """The kernel's affine map, where each output reads `receptive` positions, of one group."""
        return Affine(
            squared(self.w_std),
            None if self.b_std is None else squared(self.b_std),
            self.width(channels),
            receptive / self.s[0] if self.is_standard else None,
            groups,
        )

    def width(self, channels: int) -> int:
        """Output channels of the finite network."""
        return channels * self.s[1] if self.is_standard else channels

    def draw(
        self, rng: Array, weight_shape: tuple[int, ...], bias_shape: tuple[int, ...], fan_in: int
    ) -> tuple[Array, Array | None]:
        """Parameters at initialization: normal, with the scales that they carry."""
        known_shape(self.layer, (*weight_shape, *bias_shape))
        weight_rng, bias_rng = random.split(rng)
        weights = random.normal(weight_rng, weight_shape)
        if self.is_standard:
            scale = self.w_std / (fan_in / self.s[0]) ** 0.5
            weights = jnp.asarray(scale, weights.dtype) * weights
        if self.b_std is None:
            return weights, None
        biases = random.normal(bias_rng, bias_shape)
        if self.is_standard:
            biases = jnp.asarray(self.b_std, biases.dtype) * biases
        return weights, biases

    def combine(self, product: Array, biases: Array | None, fan_in: int) -> Array:
        """Layer output from its product with the raw weights, with the scales that it carries."""
        factor = self.s[0] ** -0.5 if self.is_standard else self.w_std / fan_in**0.5
        out = jnp.asarray(factor, product.dtype) * product
        if biases is None:
            return out
        return out + (biases if self.is_standard else jnp.asarray(self.b_std, out.dtype) * biases)

    def __repr__(self) -> str:
        text = f"W_std={show(self.w_std)}"
        if self.b_std is not None:
            text += f", b_std={show(self.b_std)}"
        return text + (f", parameterization='standard', s={self.s}" if self.is_standard else "")
