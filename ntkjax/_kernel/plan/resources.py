"""What a computation may take: memory, devices, cores."""

import dataclasses
import os
from typing import Any


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a computation may take.

    Attributes:
      budget: bytes for one tile.
      devices: which share the tiles.
      workers: how many tiles are made at a time: by each of several devices one, or by each core of
        a single CPU.
      cores: of the CPU, how many share each operation.
    """

    budget: int
    devices: tuple[Any, ...]
    workers: int
    cores: int

    def alone(self) -> "Resources":
        """These, for one tile at a time, on one device."""
        return Resources(self.budget, self.devices[:1], 1, cores())


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
