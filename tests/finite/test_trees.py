"""Trees of inputs, outputs and keywords, with an axis of examples for each array."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._finite import empirical_ntk_fn

RNG = np.random.default_rng(0)
PARAMS = {"a": RNG.normal(size=(4, 5)), "b": [RNG.normal(size=(5, 3)), RNG.normal(size=3)]}
PARAMS["c"] = (RNG.normal(size=(3, 2, 5)),)


def network(params, x, z, gain=1.0):
    """Examples are along axis 0 of left and of y, 1 of right and of z, 2 of q."""
    left, right = (jnp.tanh(y @ params["a"]) for y in (x["left"], x["right"].T))
    y = gain * (left @ params["b"][0] + params["b"][1][None]) + jnp.sin(z.T @ params["b"][0])
    return {"y": y, "q": [jnp.einsum("nk,dok->odn", right, params["c"][0])]}


def inputs(n, seed):
    rng = np.random.default_rng(seed)
    return {"left": rng.normal(size=(n, 4)), "right": rng.normal(size=(4, n))}


AXES = ({"left": 0, "right": -1}, {"y": 0, "q": [2]}, {"z": 1})


@pytest.mark.parametrize("implementation", [0, 2])
def test_trees_of_axes(implementation):
    x1, x2 = inputs(3, 1), inputs(2, 2)
    z = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))

    def kernel(axes, implementation, p):
        ntk_fn = empirical_ntk_fn(network, (), (), axes, implementation)
        return ntk_fn(x1, x2, p, z=z, gain=(2.0, 0.5))

    wanted = jax.jit(lambda p: kernel(None, 1, p))(PARAMS)
    found = jax.jit(lambda p: kernel(AXES, implementation, p))(PARAMS)
    assert found["y"].shape == (3, 2, 3, 3)
    assert found["q"][0].shape == (2, 2, 3, 3, 3, 2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), found, wanted)
