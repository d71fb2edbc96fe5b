"""Kernels of blocks of pairs, put together to the kernel of all pairs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._scale.examples import FIRST, PAIRS


class Blocks:
    """The results of a kernel function on blocks of pairs, in any tree, as one result.

    Results on the host are written into arrays of their final size as they come, so that nothing is
    held twice. Others stay on the device until all are there.
    """

    def __init__(self, rows: list[slice], columns: list[slice], on_host: bool) -> None:
        self._rows, self._columns, self._on_host = rows, columns, on_host
        self._held: dict[tuple[int, int], list[Any]] = {}
        self._totals: list[Any] = []
        self._tree: Any = None
        self._kernels: list[Kernel] = []

    def add(self, i: int, j: int, result: Any) -> None:
        """The result of the i-th rows and the j-th columns."""
        outputs, tree = jax.tree.flatten(result, is_leaf=_is_kernel)
        if self._tree is None:
            self._tree, self._kernels = tree, outputs
        fields = [self._fields(output) for output in outputs]
        if not self._on_host:
            self._held[i, j] = fields
            return
        self._totals = self._totals or [{} for _ in fields]
        for total, of in zip(self._totals, fields, strict=True):
            for name, array in of.items():
                if name not in total:
                    total[name] = self._empty(name, array)
                total[name][self._place(name, i, j)] = np.asarray(array)

    def add_mirrored(self, i: int, j: int, result: Any, equal_positions: bool) -> None:
        """The result of the i-th rows and the j-th columns of a symmetric kernel, for both."""
        self.add(i, j, result)
        if i == j:
            return

        def mirrored(output: Any) -> Any:
            if isinstance(output, Kernel):
                pairs = {name: mirrored(getattr(output, name)) for name in PAIRS}
                own = {"cov1": output.cov2, "cov2": output.cov1}
                own |= {"mask1": output.mask2, "mask2": output.mask1}
                return dataclasses.replace(output, **pairs, **own)
            if output is None:
                return None
            axes = 2 if equal_positions else output.ndim
            order = [k + 1 if k % 2 == 0 else k - 1 for k in range(axes)]
            return output.transpose(*order, *range(axes, output.ndim))

        self.add(j, i, jax.tree.map(mirrored, result, is_leaf=_is_kernel))

    def total(self, is_symmetric: bool) -> Any:
        """The result for all pairs."""
        if not self._on_host:
            self._totals = [
                {name: self._joined(k, name) for name in list(of)}
                for k, of in enumerate(self._held[0, 0])
            ]
        made = [
            self._whole(kernel, total, is_symmetric)
            for kernel, total in zip(self._kernels, self._totals, strict=True)
        ]
        return jax.tree.unflatten(self._tree, made)

    def _fields(self, output: Any) -> dict[str, Any]:
        """The arrays of an output by name; an array by itself is one of pairs."""
        if not isinstance(output, Kernel):
            return {PAIRS[0]: output}
        names = (*PAIRS, "cov1", "cov2", "mask1", "mask2")
        return {name: array for name in names if (array := getattr(output, name)) is not None}

    def _empty(self, name: str, array: Any) -> np.ndarray:
        n1, n2 = self._rows[-1].stop, self._columns[-1].stop
        if name in PAIRS:
            return np.empty((n1, n2, *array.shape[2:]), array.dtype)
        return np.empty((n1 if name in FIRST else n2, *array.shape[1:]), array.dtype)

    def _place(self, name: str, i: int, j: int) -> Any:
        if name in PAIRS:
            return self._rows[i], self._columns[j]
        return self._rows[i] if name in FIRST else self._columns[j]

    def _joined(self, k: int, name: str) -> Any:
        """One array of the k-th output, of all blocks."""
        rows, columns = range(len(self._rows)), range(len(self._columns))
        if name in PAIRS:
            lines = [
                jnp.concatenate([self._held[i, j][k].pop(name) for j in columns], 1) for i in rows
            ]
            return jnp.concatenate(lines, 0)
        places = [(i, 0) for i in rows] if name in FIRST else [(0, j) for j in columns]
        return jnp.concatenate([self._held[place][k][name] for place in places], 0)

    def _whole(self, kernel: Any, total: dict[str, Any], is_symmetric: bool) -> Any:
        """An output as the kernel function gives it."""
        if not isinstance(kernel, Kernel):
            return total[PAIRS[0]]
        shapes = {}
        for name, n in (("shape1", self._rows[-1].stop), ("shape2", self._columns[-1].stop)):
            shape = list(getattr(kernel, name))
            shape[kernel.batch_axis] = n
            shapes[name] = tuple(shape)
        if is_symmetric:
            total = {**total, "cov2": None, "x1_is_x2": jnp.asarray(True)}
        return dataclasses.replace(kernel, **total, **shapes)


def _is_kernel(value: Any) -> bool:
    return isinstance(value, Kernel)
