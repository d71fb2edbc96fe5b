"""What gradient descent in continuous time starts from, and where it stands later."""

import dataclasses
from typing import Any

import jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ODEState:
    r"""Outputs of a network in training and, of descent with momentum, their velocities.

    .. math::
        \dot f = q, \qquad \dot q = -\Theta\, \nabla L(f) - \frac{1 - \mu}{\sqrt\eta}\, q

    with the learning rate :math:`\eta` and the momentum :math:`\mu`, in the time
    :math:`\sqrt\eta\, t`. Without momentum there is no q.

    `gradient_descent` takes a state in the place of the outputs at time 0 and then answers with the
    states at the times that were asked for. Each of these may be the start of another call. A state
    is a pytree.

    Args:
      fx_train: f on the training points, of the shape of the targets, or a number.
      fx_test: f on the test points; None where they are not wanted.
      qx_train: q on the training points; None for 0, or without momentum.
      qx_test: q on the test points; None for 0, or without momentum.

    Source: Lee et al. 2019, arXiv 1902.06720, section 2.2 and supplement.

    Example:
      >>> import jax.numpy as jnp
      >>> state = ODEState(jnp.zeros((4, 3)))
      >>> state.fx_train.shape, state.qx_train
      ((4, 3), None)
      >>> state.replace(qx_train=jnp.ones((4, 3))).qx_train.shape
      (4, 3)
    """

    fx_train: Any = None
    fx_test: Any = None
    qx_train: Any = None
    qx_test: Any = None

    def replace(self, **changes: Any) -> "ODEState":
        """A state with some fields changed."""
        return dataclasses.replace(self, **changes)

    def astuple(self) -> tuple[Any, ...]:
        """The fields in their order."""
        return tuple(getattr(self, field.name) for field in dataclasses.fields(self))

    def asdict(self) -> dict[str, Any]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
