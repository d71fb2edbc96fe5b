"""Linear maps of positions that involve no weights: pools.

A map with weights a_Pi sends K to K'[P, Q] = sum_ij a_Pi a_Qj K[p_i, q_j] =: M[K]: all pairs of
positions, not equal ones (Arora et al. 2019, section 4.2). In distances, with A_P = sum_i a_Pi,
m[P] = sum_i a_Pi v[p_i] and e[P] = M[D of an image with itself][P, P] / 2,

    v'[P] = A_P m[P] - e[P],
    D'[P, Q] = M[D][P, Q] - e1[P] - e2[Q] + (A_P - A_Q) (m1[P] - m2[Q]).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.diagonals import along
from ntkjax._kernel.operation import Operation, Step, views
from ntkjax._kernel.state import Pairs, State, View


class LinearMap(Operation):
    """Base of the pools: a subclass gives M on diagonals, m on positions, and A."""

    mixes_diagonals = True
    needs_energy = True

    def on_diagonals(self, array: Array, given: Any, wanted: Any) -> Array:
        """M: from rows `given` to rows `wanted`."""
        raise NotImplementedError

    def on_positions(self, image_map: Array, given: Any, wanted: Any) -> Array:
        """m: from a map of input positions to one of output positions."""
        raise NotImplementedError

    def mass(self, given: Any, wanted: Any) -> np.ndarray:
        """A: the sum of the weights of each output position."""
        raise NotImplementedError

    def apply(self, states: tuple[State, ...], step: Step) -> State:
        (state,) = states
        if not step.in_distances:
            return self._covariances(state, step)
        given, wanted = step.given, step.wanted
        mass = self.mass(given, wanted)
        mass = mass.reshape(mass.shape + (1,))

        def image(pairs: Pairs | None, var: Array) -> tuple[Array, Array, Array]:
            """m, e and the new variance of the images of one batch."""
            assert pairs is not None and pairs.distance is not None
            mean = self.on_positions(var, given, wanted)
            self_rows = self.on_diagonals(pairs.distance, step.given_self, wanted.zero())
            energy = 0.5 * self_rows[(0,) * wanted.ndim]
            return mean, energy, mass.astype(var.dtype) * mean - energy

        one = image(state.self1, state.var1)
        two = one if step.symmetric else image(state.self2, state.var2)

        def pairs(pairs: Pairs, given: Any, after: View, one: Any, two: Any, equal: Any) -> Pairs:
            moved = pairs.map(lambda array: self.on_diagonals(array, given, after.diagonals))
            distance = moved.distance - after.first(one[1]) - after.second(two[1])
            if np.ptp(mass) > 0:
                # The same on both sides but for how many images it is broadcast to.
                own, partner = after.first(mass), after.second(jnp.asarray(mass))
                lanes = (1,) * (distance.ndim - 2 * wanted.ndim - 1)
                surplus = (own - partner).astype(distance.dtype)
                surplus = surplus.reshape(surplus.shape + lanes)
                distance = distance + surplus * (after.first(one[0]) - after.second(two[0]))
            distance = jnp.maximum(distance, 0.0)
            return Pairs(distance=jnp.where(equal, 0.0, distance), ntk=moved.ntk)

        def on_self(held: Pairs | None, image: Any) -> Pairs | None:
            if held is None or step.wanted_self is None:
                return None
            after = View(step.wanted_self, image[2], image[2])
            equal = _on_zero_row(step.wanted_self)
            return pairs(held, step.given_self, after, image, image, equal[..., None])

        new = State(one[2], two[2], None, None, state.cross)
        after = views(new, wanted)
        equal = np.zeros((1,) * (2 * wanted.ndim + 2), bool)
        if step.symmetric:
            n = state.cross.second_moment.shape[-1]
            equal = _on_zero_row(wanted)[..., None, None] & np.eye(n, dtype=bool)
        left = tuple(part[..., :, None] for part in one)
        right = tuple(part[..., None, :] for part in two)
        cross = pairs(state.cross, given, after, left, right, equal)
        self1 = on_self(state.self1, one)
        self2 = self1 if step.symmetric else on_self(state.self2, two)
        return State(one[2], two[2], self1, self2, cross)

    def _covariances(self, state: State, step: Step) -> State:
        """K' = M[K], when no later layer asks for distances."""

        def moved(pairs: Pairs | None, given: Any, wanted: Any) -> Pairs | None:
            if pairs is None or wanted is None:
                return None
            return pairs.map(lambda array: self.on_diagonals(array, given, wanted))

        self1 = moved(state.self1, step.given_self, step.wanted_self)
        self2 = self1 if step.symmetric else moved(state.self2, step.given_self, step.wanted_self)
        cross = moved(state.cross, step.given, step.wanted)
        assert cross is not None
        return State(None, None, self1, self2, cross)


def _on_zero_row(diagonals: Any) -> np.ndarray:
    """True on the row of equal positions: [row per axis ..., 1 per axis ...]."""
    ndim = diagonals.ndim
    result = np.ones((1,) * (2 * ndim), bool)
    for axis, rows in enumerate(diagonals.rows):
        result = result & along(np.array(rows) == 0, 2 * ndim, axis)
    return result
