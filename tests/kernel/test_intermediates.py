"""`intermediates=True`: the kernels after all layers, in the tree of the network, made together."""

import jax
import numpy as np
import pytest

import ntkjax
from ntkjax._kernel.arguments import inputs_of_call
from ntkjax._kernel.plan.network import network_plan
from ntkjax._kernel.plan.plan import Request
from ntkjax._kernel.plan.sweep import find_sweeps
from ntkjax.stax import (
    AvgPool,
    Conv,
    Dense,
    FanInSum,
    FanOut,
    Flatten,
    GlobalAvgPool,
    Identity,
    Index,
    Relu,
    Slice,
    parallel,
    repeat,
    serial,
)
from tests.helpers import fast_jit

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(3, 6, 2)), RNG.normal(size=(2, 6, 2))
FIELDS = ("nngp", "ntk", "cov1", "cov2", "distance")


def conv():
    return Conv(1, (3,), padding="SAME", W_std=1.3, b_std=0.2)


BLOCK = (FanOut(2), parallel(serial(Relu(), conv()), Identity()), FanInSum())
LAYERS = (conv(), Conv(1, (3,), (2,), "SAME"), serial(*BLOCK), AvgPool((2,)), Relu(), Flatten())
NETWORK = serial(*LAYERS, Dense(1))


def same(one, two):
    for name in FIELDS:
        a, b = getattr(one, name), getattr(two, name)
        assert (a is None) == (b is None), name
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12, err_msg=name)
    assert (one.shape1, one.is_gaussian) == (two.shape1, two.is_gaussian)


@pytest.mark.parametrize("full", [False, True])
def test_they_are_the_kernels_of_shorter_networks(full):
    ends = [NETWORK, serial(*LAYERS[:3]), serial(*LAYERS[:1]), serial(*LAYERS[:2], FanOut(2),
            parallel(serial(Relu()), Identity()))]  # fmt: skip

    def calls(x1, x2):
        options = {"diagonal_spatial": False} if full else {}
        alone = [end.kernel_fn(x1, x2, diagonal_spatial=not full) for end in ends]
        return NETWORK.kernel_fn(x1, x2, intermediates=True, **options), alone

    tree, (last, block, first, branches) = fast_jit(calls)(X1, X2)
    assert [isinstance(item, list) for item in tree] == [False, False, True, *[False] * 4]
    same(tree[-1], last)
    same(tree[0], first)
    assert tree[0].nngp.shape == ((3, 2, 6, 6) if full else (3, 2, 6))
    fan_out, (left, right), joined = tree[2]
    same(joined, block)
    for copy in fan_out:
        same(copy, right)
    same(left[0], branches[0])
    same(right, branches[1])


def test_get_and_one_batch():
    network = serial(conv(), Relu(), Flatten())
    tree, last = fast_jit(
        lambda x: [network.kernel_fn(x, None, "nngp", intermediates=i) for i in (True, False)]
    )(X1)
    assert tree[0].shape == (3, 3, 6)
    np.testing.assert_array_equal(tree[0], np.swapaxes(tree[0], 0, 1))
    np.testing.assert_allclose(tree[-1], last, rtol=1e-12)


def test_in_tiles():
    network = serial(conv(), Relu(), Flatten())
    whole = fast_jit(lambda a, b: network.kernel_fn(a, b, ("nngp", "ntk"), intermediates=True))(
        X1, X2
    )
    kernel_fn = network.kernel_fn
    forecast = kernel_fn.plan(X1.shape, X2.shape, ("nngp", "ntk"), intermediates=True)
    with ntkjax.config.set(memory_budget=forecast.bytes - 1):
        tiled = kernel_fn(X1, X2, ("nngp", "ntk"), intermediates=True)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(tiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def plan_of(network, x1, x2, **options):
    items, structure = inputs_of_call(x1, x2, False)
    return network_plan(network.kernel_fn.part, items, structure, Request(True, True, **options))[0]


def test_a_trunk_is_made_once():
    """Of any resolution, equal positions are one sweep, of the batches and of images."""
    network = serial(repeat(serial(conv(), Relu()), 4), Conv(1, (3,), (2,), "SAME"), Flatten())
    plan = plan_of(network, X1, X2, diagonal_spatial=True, intermediates=True)
    assert len(plan.outputs) == 10
    assert [sweep.collectors for sweep in find_sweeps(plan, 2)] == [plan.outputs]
    assert len(find_sweeps(plan.of_images, 2)) == 1
    shapes = (8, 32, 3), (8, 32, 3)
    alone = network.kernel_fn.plan(*shapes, "ntk").operations
    together = network.kernel_fn.plan(*shapes, "ntk", intermediates=True).operations
    assert together < 2 * alone


def test_below_a_pool_they_cost_one_diagonal_more():
    network = serial(conv(), Relu(), conv(), Relu(), GlobalAvgPool())
    shapes = (8, 32, 3), (8, 32, 3)
    alone = network.kernel_fn.plan(*shapes, "ntk").operations
    together = network.kernel_fn.plan(*shapes, "ntk", intermediates=True).operations
    assert together < 1.1 * alone


def test_what_has_no_kernels_in_between_is_refused():
    with pytest.raises(ValueError, match=r"Index at layer 1: mixes the examples.*leave out"):
        serial(Dense(1), Index(Slice[::2])).kernel_fn(X1, None, "nngp", intermediates=True)
    with pytest.raises(TypeError, match="intermediates='all', expected True or False"):
        NETWORK.kernel_fn(X1, intermediates="all")
