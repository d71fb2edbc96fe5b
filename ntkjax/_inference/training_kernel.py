"""Kernels of the training points, and what is derived from them, computed once."""

from collections.abc import Callable, Hashable
from typing import Any

import jax
from jax import Array

from ntkjax._inference.arguments import kernel_array
from ntkjax._inference.layout import Layout
from ntkjax._inference.modes import Modes, check_converges, modes_of
from ntkjax._jax_compat import is_concrete
from ntkjax._solve.factor import Factor, factorized
from ntkjax._solve.refinement import refined_solve
from ntkjax._solve.regularizer import Regularizer, shift_of
from ntkjax._solve.report import SolveReport
from ntkjax._solve.symmetric import symmetrized


class TrainingKernel:
    """The training kernels `"nngp"` and `"ntk"`, as matrices, with their factors and spectra.

    What depends on concrete arrays alone is computed at once, even under a caller's `jit`, and
    kept. What depends on a traced array belongs to that trace: it is returned, and computed again
    next time.

    Args:
      evaluate: from a tuple of kinds to an object that holds those kernels.
      name: what the user calls that object, for messages.
      layout: how the targets are laid out.
      regularizer: what is added to the diagonal before a matrix is inverted.
    """

    def __init__(
        self,
        evaluate: Callable[[tuple[str, ...]], Any],
        name: str,
        layout: Layout,
        regularizer: Regularizer,
    ) -> None:
        self.layout = layout
        self.regularizer = regularizer
        self._evaluate = evaluate
        self._name = name
        self._kept: dict[Hashable, Any] = {}

    def matrices(self, kinds: tuple[str, ...]) -> dict[str, Array]:
        """The matrices of these kinds, unregularised; those not kept come from one evaluation."""
        missing = tuple(kind for kind in kinds if kind not in self._kept)
        fresh = {}
        if missing:
            with jax.ensure_compile_time_eval():
                kernel = self._evaluate(missing)
                fresh = {kind: self._matrix(kernel, kind) for kind in missing}
            self._kept.update({kind: m for kind, m in fresh.items() if is_concrete(m)})
        return {kind: fresh[kind] if kind in fresh else self._kept[kind] for kind in kinds}

    def factor(self, kind: str, matrix: Array) -> Factor:
        """The factor of a matrix of `matrices`, regularised."""

        def compute() -> Factor:
            return factorized(matrix, self.label(kind), self.regularizer, mends=False)

        return self._once(("factor", kind), compute)

    def weights(self, kind: str, matrix: Array, targets: Array) -> Array:
        """The inverse of a matrix of `matrices`, regularised, times a matrix of targets."""
        shift = shift_of(matrix, self.regularizer)
        factor = self.factor(kind, matrix)
        return refined_solve(factor, matrix, self.label(kind), shift, targets)

    def report(self, kind: str) -> SolveReport:
        """How the matrix of a kind is factorized, and how near to singular it is."""
        return self.factor(kind, self.matrices((kind,))[kind]).report()

    def modes(self, kind: str, matrix: Array, forever: bool) -> Modes:
        """The spectrum of a matrix of `matrices`, regularised; `forever` if times are infinite."""

        def compute() -> Modes:
            found = modes_of(matrix, self.label(kind), self.regularizer)
            if forever:
                check_converges(found, matrix, self.label(kind), self.regularizer)
            return found

        # The two keys differ in what has been checked.
        return self._once(("modes", kind, forever), compute)

    def _once(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        if key in self._kept:
            return self._kept[key]
        with jax.ensure_compile_time_eval():
            value = compute()
        if is_concrete(value):
            self._kept[key] = value
        return value

    def label(self, kind: str) -> str:
        """What messages call the kernel of a kind."""
        return f"{self._name} ({kind})"

    def _matrix(self, kernel: Any, kind: str) -> Array:
        array = kernel_array(kernel, kind, self._name)
        square = self.layout.square_matrix(array, self._name, self.layout.row_shape)
        return symmetrized(square, self.label(kind))
