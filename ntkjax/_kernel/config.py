"""Settings that change how kernels are computed: within what, by what, in which precision."""

import contextlib
import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from ntkjax._kernel.arrays import describe
from ntkjax._kernel.plan.resources import Resources, cores

#: The part of the device's memory that kernels may take by default.
_DEFAULT_PART = 1 / 8


def _checked_budget(value: Any) -> int | None:
    """Bytes as an integer."""
    if value is None:
        return None
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not is_number or not 1 <= value < math.inf:
        raise ValueError(
            f"config: memory_budget={describe(value)}, expected a positive number of bytes, or "
            "None for an eighth of the memory."
        )
    return int(value)


def _checked_devices(value: Any) -> tuple[Any, ...] | None:
    """A tuple of devices; a device by itself is one of them."""
    if value is None:
        return None
    devices = tuple(value) if isinstance(value, Iterable) else (value,)
    if not devices or not all(isinstance(device, jax.Device) for device in devices):
        raise ValueError(
            f"config: devices={describe(value)}, expected devices such as jax.local_devices(), or "
            "None for all of them."
        )
    return devices


def _checked_dtype(value: Any) -> str:
    """Which dtype decides that of a kernel."""
    if not isinstance(value, str) or value not in ("widest", "inputs"):
        raise ValueError(
            f"config: dtype={describe(value)}, expected 'widest' (float64 where jax_enable_x64 is "
            "on) or 'inputs' (as the inputs are, at least float32)."
        )
    return value


def _checked_flag(value: Any) -> bool:
    """Whether to show progress."""
    if not isinstance(value, bool):
        raise ValueError(f"config: progress={describe(value)}, expected True or False.")
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "memory_budget": _checked_budget,
    "devices": _checked_devices,
    "dtype": _checked_dtype,
    "progress": _checked_flag,
}


@dataclasses.dataclass
class Config:
    r"""How much memory kernels may take, which devices compute them, and in which dtype.

    .. math::
        \mathrm{bytes}(n_1, n_2) = \mathrm{pairs} \cdot n_1 n_2 + \mathrm{images} \cdot (n_1 + n_2)
        \le \mathrm{memory\_budget}

    for a tile of :math:`n_1 \times n_2` pairs of images, or for those that the cores of a CPU make
    at a time: the larger the budget, the larger the tiles. Inputs and results come on top.

    Args:
      memory_budget: bytes; None for an eighth of the memory of the device.
      devices: devices that share the tiles, or one device; None for all local ones of the default
        backend.
      dtype: "widest" for kernels in JAX's own floating-point type, whatever the dtype of the inputs
        (float64 where `jax_enable_x64` is on, else float32); "inputs" for kernels of float32 inputs
        in float32 although `jax_enable_x64` is on. No kernel is computed in less than float32.
      progress: whether work over some seconds shows a progress bar, where `tqdm` is installed.

    Returns:
      The settings, as `ntkjax.config`; assign to its fields, or change them for a while by `set`.

    Raises:
      ValueError: a setting is out of its range.
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
    dtype: str = "widest"
    progress: bool = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _CHECKS:
            raise AttributeError(f"config: {name!r} is no setting; there are {', '.join(_CHECKS)}.")
        super().__setattr__(name, _CHECKS[name](value))

    @property
    def keeps_dtype(self) -> bool:
        """Whether kernels have the dtype of their inputs."""
        return self.dtype == "inputs"

    @contextlib.contextmanager
    def set(self, **settings: Any) -> Iterator[None]:
        """Change settings within a `with` block."""
        before = {name: getattr(self, name) for name in settings if name in _CHECKS}
        try:
            for name, value in settings.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def budget(self) -> int:
        """Bytes that one tile may take."""
        if self.memory_budget is not None:
            return self.memory_budget
        (device, *_) = self.local_devices()
        stats = device.memory_stats() if device.platform != "cpu" else None
        memory = (stats or {}).get("bytes_limit")
        if memory is None:
            memory = _memory_of_machine() // len(self.local_devices())  # which share it
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


@functools.cache
def _memory_of_machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


config = Config()
