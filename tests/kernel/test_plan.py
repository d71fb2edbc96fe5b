"""What a computation demands: periods, diagonals, and compiled programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from ntkjax._kernel.operations.banded import Reperiod, WindowPool
from ntkjax._kernel.operations.global_pool import GlobalPool
from ntkjax._kernel.operations.pointwise import Dual
from ntkjax._kernel.plan.network import network_plan
from ntkjax._kernel.plan.plan import Request
from ntkjax.stax import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Relu, serial


def plan_of(network, shape, *, ntk=True, cov=False, diagonal_spatial=False):
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    request = Request(ntk=ntk, cov=cov, diagonal_spatial=diagonal_spatial)
    return network_plan(network.kernel_fn.part, [(x, None)], 0, request)[0]


def counts(network, shape, name="Conv", **request):
    """Diagonals of the cross kernel held after each layer of a name."""
    plan = plan_of(network, shape, **request)
    return {
        held.cross.count
        for node, held in zip(plan.nodes, plan.places, strict=True)
        if node.place.startswith(name) and len(node.signal.sizes) == len(shape) - 2
    }


def conv(stride=1, padding="SAME"):
    return Conv(1, (3, 3), (stride, stride), padding)


STACK = (conv(), Relu(), conv(), Relu())
IMAGES = (2, 32, 32, 3)


def test_flatten_demands_one_diagonal():
    assert counts(serial(*STACK, Flatten()), IMAGES) == {1}


def test_a_pool_under_flatten_demands_the_displacements_in_its_window():
    assert counts(serial(*STACK, AvgPool((2, 2), (2, 2)), Flatten()), IMAGES) == {9}


def test_a_global_pool_demands_all():
    assert counts(serial(*STACK, GlobalAvgPool()), IMAGES) == {1024}


def test_strides_divide_the_demand():
    network = serial(conv(), Relu(), conv(2), Relu(), conv(2), Relu(), GlobalAvgPool())
    assert counts(network, IMAGES) == {64}


def test_a_wide_resnet_demands_64_diagonals_at_every_resolution():
    def block(strides=1):
        main = serial(Relu(), conv(strides), Relu(), conv())
        shortcut = stax.Identity() if strides == 1 else conv(strides)
        return serial(stax.FanOut(2), stax.parallel(main, shortcut), stax.FanInSum())

    network = serial(conv(), block(), block(2), block(2), AvgPool((8, 8)), Flatten(), Dense(10))
    plan = plan_of(network, IMAGES)
    spatial = zip(plan.nodes, plan.places, strict=True)
    held = {(node.signal.sizes[0], h.cross.count) for node, h in spatial if node.signal.sizes}
    assert held == {(32, 64), (16, 64), (8, 64), (1, 1)}


def test_equal_positions_demand_one_diagonal():
    assert counts(serial(*STACK), IMAGES, diagonal_spatial=True) == {1}
    assert counts(serial(*STACK), IMAGES) == {1024}


def test_images_with_themselves_are_demanded_under_a_pool_and_nonlinearity_alone():
    linear = plan_of(serial(*STACK, GlobalAvgPool()), IMAGES)
    assert all(held.own is None for held in linear.places)
    pooled = plan_of(serial(*STACK, GlobalAvgPool(), Dense(1), Relu()), IMAGES)
    assert pooled.places[0].own is not None
    assert pooled.places[0].own.count == 1024
    local = plan_of(serial(*STACK[:3], AvgPool((2, 2)), Relu(), Flatten()), IMAGES)
    assert local.places[0].own.count == 9


def test_distances_are_carried_up_to_the_last_nonlinearity():
    plan = plan_of(serial(conv(), Relu(), conv(), Flatten()), IMAGES)
    carried = [place.form.is_distance for place in plan.places]
    last = max(i for i, node in enumerate(plan.nodes) if isinstance(node.operation, Dual))
    assert all(carried[: last + 1])
    assert not any(carried[last + 1 :])


def periods(network, shape):
    plan = plan_of(network, shape)
    changes = sum(isinstance(node.operation, Reperiod) for node in plan.nodes)
    return [held.cross.periods for held in plan.places], changes


def test_tangents_begin_with_the_first_nonlinearity():
    plan = plan_of(serial(*STACK, GlobalAvgPool(), Dense(1)), IMAGES)
    names = [type(node.operation).__name__ for node in plan.nodes]
    has_tangent = [place.form.has_tangent for place in plan.places]
    assert has_tangent == [i >= names.index("Dual") for i in range(len(names))]
    # Where the first layer carries no excess, its tangents are whole, and begin with it.
    standard = Dense(1, parameterization="standard")
    plan = plan_of(serial(standard, Relu(), standard), (2, 3))
    first, *others = (place.form.has_tangent for place in plan.places)
    assert (first, all(others)) == (False, True)


def test_pools_take_rows_in_pairs():
    def groups(pool):
        plan = plan_of(serial(conv(), Relu(), pool, conv(), Relu(), GlobalAvgPool()), IMAGES)
        return groups_of(plan, WindowPool, 32)

    assert groups(AvgPool((2, 2), (2, 2))) == {(2, 2)}
    assert groups(AvgPool((3, 2), (1, 2))) == {(1, 2)}
    assert groups(AvgPool((3, 3), (3, 3))) == {(1, 1)}


def groups_of(plan, kind, images):
    """How many rows operations of a kind take together, of so many second images."""
    return {
        node.operation.groups(plan.given_rows(i, held.cross), held.cross, images)
        for i, (node, held) in enumerate(zip(plan.nodes, plan.places, strict=True))
        if isinstance(node.operation, kind)
    }


@pytest.mark.parametrize(("images", "members"), [(1, 6), (2, 6), (4, 3), (8, 2), (16, 1), (24, 1)])
def test_global_pools_take_as_many_rows_as_fill_vectors(images, members):
    plan = plan_of(serial(conv(), Relu(), GlobalAvgPool()), (2, 5, 6, 3))
    assert groups_of(plan, GlobalPool, images) == {(1, members)}


@pytest.mark.parametrize(
    ("layers", "changes"),
    [
        ([("SAME", 1)], 0),
        ([("SAME", 2), ("VALID", 2)], 0),
        ([("CIRCULAR", 1), ("CIRCULAR", 2)], 0),
        ([("CIRCULAR", 1), ("SAME", 1)], 0),
        ([("VALID", 1), ("CIRCULAR", 1)], 1),
    ],
    ids=str,
)
def test_periods_change_only_where_they_must(layers, changes):
    network = serial(*(Conv(1, (3,), (stride,), padding) for padding, stride in layers))
    assert periods(network, (2, 11, 3))[1] == changes


def test_every_period_reads_whole_rows_of_the_one_below():
    network = serial(*(Conv(1, (3,), (stride,), "SAME") for stride in (2, 3)), GlobalAvgPool())
    (first, *others), changes = periods(network, (2, 11, 3))
    assert changes == 0
    assert others[-1] == ()
    last = [one for one in others if one][-1]
    assert first[0] == 6 * last[0]
    assert first[0] >= 11


def test_branches_of_other_strides_meet_by_a_change_of_period():
    one, two = Conv(1, (3,), (1,), "SAME"), Conv(1, (2,), (2,), "SAME")
    network = serial(stax.FanOut(2), stax.parallel(one, two), stax.FanInSum())
    assert periods(network, (2, 1, 3))[1] == 1


# ---- compiled programs


def test_diagonals_are_made_apart_where_one_global_pool_adds_them():
    def joint(*layers):
        return plan_of(serial(*layers), (2, 4, 4, 2)).joint

    pool, flat = GlobalAvgPool(), Flatten()
    assert joint(conv(), pool, Dense(1), Relu()) is not None
    assert joint(conv(), flat) is None
    assert joint(conv(), AvgPool((2, 2)), pool) is None
    branches = stax.parallel(serial(pool, Dense(5)), serial(flat, Dense(5)))
    assert joint(conv(), stax.FanOut(2), branches, stax.FanInSum()) is None


COMPILED: list[str] = []


def note(event, *_, **__):
    if event == "/jax/core/compile/backend_compile_duration":
        COMPILED.append(event)


jax.monitoring.register_event_duration_secs_listener(note)


def compilations(call):
    """How many programs a call compiles."""
    before = len(COMPILED)
    jax.block_until_ready(call())
    return len(COMPILED) - before


def test_other_values_compile_nothing_on_several_cores(three_cores):
    def kernel(seed, w_std):
        x = np.random.default_rng(seed).normal(size=(6, 4, 4, 2))
        conv = stax.Conv(1, (3, 3), padding="SAME", W_std=w_std)
        return serial(conv, stax.Relu(), stax.GlobalAvgPool()).kernel_fn(x, None, "ntk")

    assert compilations(lambda: kernel(0, 1.5)) > 0
    assert compilations(lambda: kernel(1, 0.7)) == 0


def test_other_values_compile_nothing():
    def kernel(seed, w_std, slope, n=3):
        x = np.random.default_rng(seed).normal(size=(n, 4))
        network = serial(Dense(1, w_std, 0.1), stax.LeakyRelu(slope), Dense(1, w_std))
        return network.kernel_fn(x, None, "ntk")

    assert compilations(lambda: kernel(0, 1.5, 0.1)) > 0
    assert compilations(lambda: kernel(1, 1.5, 0.1)) == 0
    assert compilations(lambda: kernel(1, 0.7, 0.3)) == 0
    assert compilations(lambda: kernel(1, 0.7, 0.3, n=4)) > 0
