"""What calls of a `kernel_fn` need to know of its network, found once.

Optimisers call kernels of few points thousands of times. Then the time of a call is that of walking
through the layers, and of handing each of their numbers to the device (see `algebra/packed.py`).
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.algebra.graph import Part, keywords_of
from ntkjax._kernel.algebra.packed import packed
from ntkjax._kernel.arrays import default_float
from ntkjax._kernel.options import options_of
from ntkjax._kernel.same_batches import tells_examples_apart


@dataclasses.dataclass(frozen=True, eq=False)
class KnownNetwork:
    """A network, and what was found of it."""

    part: Part
    _on_device: dict[Any, Part] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def keywords(self) -> tuple[str, ...]:
        """The keywords of `kernel_fn` that bring arrays of the images to some layer."""
        return keywords_of(self.part)

    @functools.cached_property
    def options(self) -> set[str]:
        """The keywords that users' layers take."""
        return options_of(self.part)

    @functools.cached_property
    def tells_examples_apart(self) -> bool:
        """Whether the kernel of an example with itself is another one than with its copy."""
        return tells_examples_apart(self.part)

    @functools.cached_property
    def _is_concrete(self) -> bool:
        return is_concrete(self.part)

    def keywords_of(self, part: Part) -> tuple[str, ...]:
        """Those of the network as it is for one call."""
        return self.keywords if part is self.part else keywords_of(part)

    def in_dtype(self, part: Part, dtype: Any) -> Part:
        """The network as it is for one call, its traced numbers in the dtype of the kernel."""
        if part is not self.part or not self._is_concrete:
            return in_dtype(part, dtype)
        key = np.dtype(dtype), default_float()
        if key not in self._on_device:
            # Also within a program of the caller's, where new arrays would be a part of it.
            with jax.ensure_compile_time_eval():
                self._on_device[key] = packed(in_dtype(part, dtype))
        return self._on_device[key]


def in_dtype(part: Part, dtype: Any) -> Part:
    """The same network, its traced numbers in the dtype of the kernel, as Python's numbers are."""
    made: dict[int, Any] = {}

    def converted(leaf: Any) -> Any:
        if not hasattr(leaf, "dtype") or not jnp.issubdtype(leaf.dtype, np.floating):
            return leaf
        # Numbers that are one stay one.
        return made.setdefault(id(leaf), jnp.asarray(leaf, dtype))

    return jax.tree.map(converted, part)
