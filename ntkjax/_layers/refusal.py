"""Layers whose infinite network has no closed form: their kernel is an error that says so."""

from ntkjax._kernel.algebra.graph import Graph, Structure, Value
from ntkjax._kernel.algebra.operation import LayerError, operation, static

#: What to do instead.
MONTE_CARLO = (
    "estimate it by Monte Carlo, as the mean of ntkjax.empirical_kernel_fn(apply_fn) over many "
    "draws of init_fn"
)


@operation
class Refusal(Structure):
    """No kernel, for a reason."""

    reason: str = static()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        raise LayerError(f"{place}: {self.reason}")
