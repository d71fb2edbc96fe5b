"""What one measurement is: a plain record that travels to a worker process as JSON."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

OURS, PEER = "ntkjax", "neural_tangents"


class Spec(NamedTuple):
    """A network, the points between which its kernels are computed, and with which library."""

    package: str
    network: str
    options: Mapping[str, Any]
    shape: tuple[int, ...]  # of one point
    block: tuple[int, int]  # points on either side
    dtype: str = "float32"
    # If positive, the kernel is that of one set of points, of which the second half lies at this
    # relative distance from the first.
    twins: float = 0.0
    # The answer contains the kernel between the first points, this many on either side.
    keep: int = 8
    # Instead of the kernel, the loss of dataset distillation through it, or its derivatives:
    # "value", "gradient" (by the images) or "slopes" (by W_std and b_std).
    loss: str = ""

    def to_json(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        fields = json.loads(text)
        fields.update(shape=tuple(fields["shape"]), block=tuple(fields["block"]))
        return cls(**fields)
