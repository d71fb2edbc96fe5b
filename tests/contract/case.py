"""A public layer in a small network that it may stand in, with its twin."""

import dataclasses
from collections.abc import Callable
from typing import Any

from ntkjax.stax import serial
from tests.contract import twins

WIDTH = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A network, what it stands for, and what it is compared with.

    Attributes:
      name: of the case, unlike all others.
      layers: the public layers that it stands for.
      network: its layers in a row, a function of their number of channels.
      twin: an independent computation of its kernels (see `twins`); or the reason why there is
        none, as a string.
      shape: of one example; a (nested) list of shapes for a network with several inputs.
      widths: of finite networks, which are compared with the kernel. Of two widths n and 2 n, the
        deviations are extrapolated to infinite width; one is enough where the mean over networks of
        width n has no bias, or one below 1 / n.
    """

    name: str
    layers: tuple[str, ...]
    network: Callable[[int], list[Any]]
    twin: twins.Twin | str
    shape: Any
    widths: tuple[int, ...] = (1024,)

    def built(self, width: int = WIDTH) -> Any:
        """The network as one triple."""
        return serial(*self.network(width))

    def __repr__(self) -> str:
        return self.name
