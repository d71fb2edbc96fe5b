"""Where batch and channels lie in the arrays does not matter."""

import jax
import numpy as np
import pytest

from ntkjax.stax import (
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    LayerNorm,
    Relu,
    serial,
)
from tests.helpers import fast_jit

X = np.random.default_rng(0).normal(size=(2, 4, 3, 2))  # NHWC
LAYOUTS = ["NHWC", "NCHW", "CHWN"]


def network(layout, top):
    axes = {"batch_axis": layout.index("N"), "channel_axis": layout.index("C")}
    spatial = layout.replace("N", "").replace("C", "")
    numbers = (layout, {"NCHW": "OIHW"}.get(layout, f"{spatial}IO"), layout)
    over = (layout.index("C"), layout.index("W"))
    layers = [
        Conv(3, (3, 2), (1, 1), "SAME", 1.3, 0.2, numbers),
        LayerNorm(over, **axes),
        Relu(),
        AvgPool((2, 1), (2, 1), "SAME", **axes),
        Dense(3, 1.2, **axes),
    ]
    if top == "flatten":
        return serial(*layers, Flatten(axes["batch_axis"]), Dense(2)), 0
    if top == "pool":
        batch_first = axes["batch_axis"] < axes["channel_axis"]
        axis = {"batch_axis": 0 if batch_first else 1, "channel_axis": 1 if batch_first else 0}
        return serial(*layers, GlobalAvgPool(**axes), Dense(2, **axis)), axis["batch_axis"]
    return serial(*layers), axes["batch_axis"]


def arranged(layout):
    return np.transpose(X, ["NHWC".index(c) for c in layout])


@pytest.mark.parametrize("top", ["flatten", "pool", "positions"])
def test_layouts_agree(top):
    exact, _ = network("NHWC", top)
    wanted = fast_jit(exact.kernel_fn)(X)
    for layout in LAYOUTS[1:]:
        other, batch_axis = network(layout, top)
        x = arranged(layout)
        kernel = fast_jit(other.kernel_fn)(x)
        for name in ("nngp", "ntk", "cov1"):
            np.testing.assert_allclose(
                getattr(kernel, name), getattr(wanted, name), rtol=1e-11, atol=1e-13
            )
        shape, params = other.init_fn(jax.random.key(0), x.shape)
        assert kernel.shape1 == shape == other.apply_fn(params, x).shape
        assert kernel.batch_axis == batch_axis


def test_finite_networks_agree():
    """The same weights give the same outputs in either layout."""
    one, _ = network("NHWC", "positions")
    other, _ = network("CHWN", "positions")
    _, params = one.init_fn(jax.random.key(0), X.shape)
    biases_moved = jax.tree.map(
        lambda a: np.transpose(a, (3, 1, 2, 0)) if a.shape[:3] == (1, 1, 1) else a, params
    )
    y = one.apply_fn(params, X)
    z = other.apply_fn(biases_moved, arranged("CHWN"))
    np.testing.assert_allclose(np.transpose(z, (3, 1, 2, 0)), y, rtol=1e-12)


def test_flatten_puts_the_batch_where_asked():
    kernel = Flatten(0, 1).kernel_fn(X)
    assert (kernel.shape1, kernel.batch_axis, kernel.channel_axis) == ((24, 2), 1, 0)
    np.testing.assert_allclose(kernel.nngp, Flatten().kernel_fn(X).nngp)
