"""Layers whose infinite network has no closed form: their kernel is an error that says so."""

from ntkjax._kernel.algebra.graph import Graph, Structure, Value
from ntkjax._kernel.algebra.operation import LayerError, operation, static

#: What to do instead.
MONTE_CARLO = (
    "estimate it by Monte Carlo: ntkjax.monte_carlo_kernel_fn(init_fn, apply_fn, key, n_samples)"
)


@operation
class Refusal(Structure):
    """No kernel, for a reason."""

    reason: str = static()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        raise LayerError(f"{place}: {self.reason}")
