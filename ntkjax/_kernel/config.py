"""Settings that change how kernels are computed, never what they are."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import jax

from ntkjax._kernel.plan.resources import Resources, cores

#: The part of the device's memory that kernels may take by default.
_DEFAULT_PART = 1 / 8


@dataclasses.dataclass
class Config:
    r"""How much memory kernels may take, and which devices compute them.

    .. math::
        \mathrm{bytes}(n_1, n_2) = \mathrm{pairs} \cdot n_1 n_2 + \mathrm{images} \cdot (n_1 + n_2)
        \le \mathrm{memory\_budget}

    for a tile of :math:`n_1 \times n_2` pairs of images, or for those that the cores of a CPU make
    at a time: the larger the budget, the larger the tiles. Inputs and results come on top.

    Args:
      memory_budget: bytes; None for an eighth of the memory of the device.
      devices: devices that share the tiles; None for all local ones of the default backend.

    Returns:
      The settings, as `ntkjax.config`; assign to its fields, or change them for a while by `set`.

    Raises:
      ValueError: the budget is no positive number, or the list of devices is empty.
      AttributeError: a setting that does not exist.

    Source: none.

    Example:
      >>> import ntkjax
      >>> with ntkjax.config.set(memory_budget=2**30):
      ...     ntkjax.config.memory_budget
      1073741824
    """

    memory_budget: int | None = None
    devices: tuple[Any, ...] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("memory_budget", "devices"):
            raise AttributeError(
                f"config: {name!r} is no setting; there are memory_budget and devices."
            )
        if name == "memory_budget" and value is not None:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 1:
                raise ValueError(
                    f"config: memory_budget={value!r}, expected a positive number of bytes, or "
                    "None for an eighth of the memory."
                )
            value = int(value)
        if name == "devices" and value is not None:
            value = tuple(value)
            if not value or not all(isinstance(device, jax.Device) for device in value):
                raise ValueError(
                    f"config: devices={value!r}, expected devices such as jax.local_devices(), or "
                    "None for all of them."
                )
        super().__setattr__(name, value)

    @contextlib.contextmanager
    def set(self, **settings: Any) -> Iterator[None]:
        """Change settings within a `with` block."""
        before = {name: getattr(self, name, None) for name in settings}
        try:
            for name, value in settings.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                if name in ("memory_budget", "devices"):
                    setattr(self, name, value)

    def budget(self) -> int:
        """Bytes that one tile may take."""
        if self.memory_budget is not None:
            return self.memory_budget
        (device, *_) = self.local_devices()
        stats = device.memory_stats() if device.platform != "cpu" else None
        memory = (stats or {}).get("bytes_limit")
        if memory is None:
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            memory //= len(self.local_devices())  # which share it
        return int(memory * _DEFAULT_PART)

    def local_devices(self) -> tuple[Any, ...]:
        """The devices that share the tiles."""
        return self.devices or tuple(jax.local_devices())

    def resources(self) -> Resources:
        """What the settings allow now."""
        devices, budget = self.local_devices(), self.budget()
        (device, *others) = devices
        if others or device.platform != "cpu":
            return Resources(budget, devices, len(devices), max(cores() // len(devices), 1))
        return Resources(max(budget // cores(), 1), devices, cores(), 1)


config = Config()
