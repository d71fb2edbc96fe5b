r"""What training on the squared error does to each mode of its kernel by itself.

In the eigenbasis of the training kernel, whose eigenvalues are :math:`\lambda`, the outputs of a
linear model move independently of each other. A `Dynamics` says by how much:

- `decay` :math:`d_t(\lambda)`: the share of the initial error that is left at time t;
- `learned` :math:`1 - d_t(\lambda)`: the share of the targets that has been learned;
- `response` :math:`(1 - d_t(\lambda)) / \lambda`: what a unit of target has added to the weights.

Each has digits of its own: `learned` and `response` those of small :math:`\lambda t`, which
`1 - decay` has lost. All are finite for eigenvalue 0 and, at infinite time, never NaN. Gradient
flow is in `flow.py`, gradient descent in whole steps in `steps.py` and `heavy_ball.py`.
"""

from typing import Protocol

import jax.numpy as jnp
from jax import Array


class Dynamics(Protocol):
    """The shares of the modes of eigenvalues `(n,)` at a time, a scalar that may be infinite.

    One is a NamedTuple of arrays, so that it is an argument of compiled programs.
    """

    def decay(self, values: Array, time: Array) -> Array:
        """What is left of the initial outputs in each mode."""
        ...

    def learned(self, values: Array, time: Array) -> Array:
        """The share of the targets that each mode has learned."""
        ...

    def response(self, values: Array, time: Array) -> Array:
        """What a unit of target has added to the weights of each mode."""
        ...


def is_unseen(values: Array, time: Array) -> Array:
    """Modes to which infinite time adds nothing: below rounding, points see none of them."""
    return jnp.isinf(time) & (values <= jnp.finfo(values.dtype).eps * jnp.max(values))
