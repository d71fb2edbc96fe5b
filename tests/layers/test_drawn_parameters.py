"""A key draws the parameters that neural-tangents 0.6.5 draws, in the same tree."""

import jax
import numpy as np
import pytest

from ntkjax import stax

BLOCK = stax.serial(stax.Dense(3, b_std=0.1), stax.Relu(), stax.Dense(3))
FLAT, IMAGES, TEXT = (2, 3), (2, 8, 8, 3), (2, 5, 3)
#: Layers, shapes of their inputs, and of the parameters that key 7 draws there: their shapes, in
#: the order of the tree, and the sum of the cosines of each.
DRAWN = [
    ("Dense", stax.Dense(5, 1.3, 0.3), FLAT, [[3, 5], [1, 5]], [10.224273, 2.487177]),
    (
        "standard Dense",
        stax.Dense(5, 1.3, 0.3, parameterization="standard", s=(2, 3)),
        FLAT,
        [[3, 15], [1, 15]],
        [24.249315, 14.306285],
    ),
    (
        "Conv",
        stax.Conv(5, (3, 2), (2, 1), "SAME", 1.3, 0.3),
        IMAGES,
        [[3, 2, 3, 5], [1, 1, 1, 5]],
        [55.180423, 2.487177],
    ),
    (
        "ConvTranspose",
        stax.ConvTranspose(5, (3, 2), (2, 1), "SAME", 1.3, 0.3),
        IMAGES,
        [[3, 2, 3, 5], [1, 1, 1, 5]],
        [55.180423, 2.487177],
    ),
    (
        "ConvLocal",
        stax.ConvLocal(5, (3, 2), b_std=0.3),
        IMAGES,
        [[6, 7, 18, 5], [1, 6, 7, 5]],
        [2305.671986, 126.680005],
    ),
    (
        "attention",
        stax.GlobalSelfAttention(6, 4, 4, 2, b_std=0.2, pos_emb_type="SUM"),
        TEXT,
        [[2, 3, 4], [2, 3, 4], [8, 6], [1, 1, 6], [1, 5, 3]],
        [11.42934, 12.21837, 26.815641, 3.826812, 7.234349],
    ),
    (
        "attention with queries",
        stax.GlobalSelfAttention(6, 4, 4, 2, False, attention_mechanism="IDENTITY"),
        TEXT,
        [[2, 3, 4], [2, 3, 4], [2, 3, 4], [8, 6]],
        [15.589882, 11.42934, 12.21837, 26.815641],
    ),
    ("serial", BLOCK, FLAT, [[3, 3], [1, 3], [3, 3]], [5.555027, 2.14545, 4.908063]),
    (
        "repeat",
        stax.repeat(BLOCK, 4),
        FLAT,
        [[4, 3, 3], [4, 1, 3], [4, 3, 3]],
        [20.40544, 7.009234, 23.313826],
    ),
    ("no copies", stax.repeat(BLOCK, 0), FLAT, [[0, 3, 3], [0, 1, 3], [0, 3, 3]], [0, 0, 0]),
    (
        "parallel",
        stax.serial(stax.FanOut(2), stax.parallel(stax.Dense(4), BLOCK)),
        FLAT,
        [[3, 4], [3, 3], [1, 3], [3, 3]],
        [9.035113, 7.853556, 2.191561, 5.387708],
    ),
]


@pytest.mark.parametrize(
    ("layer", "shape", "shapes", "sums"), [c[1:] for c in DRAWN], ids=[c[0] for c in DRAWN]
)
def test_same_key_same_parameters(layer, shape, shapes, sums):
    with jax.threefry_partitionable(False):
        key = jax.random.key(7)
        _, params = layer.init_fn(key, shape)
        # The size of the batch has no part in it.
        _, unknown = layer.init_fn(key, (-1, *shape[1:]))
    leaves = jax.tree.leaves(params)
    assert [list(leaf.shape) for leaf in leaves] == shapes
    np.testing.assert_allclose([np.sum(np.cos(leaf)) for leaf in leaves], sums, atol=1e-6)
    assert [leaf.shape for leaf in jax.tree.leaves(unknown)] == [leaf.shape for leaf in leaves]


def test_trees_are_lists_of_layers_and_tuples_of_branches():
    key = jax.random.key(0)
    assert isinstance(BLOCK.init_fn(key, FLAT)[1], list)
    shape, params = stax.parallel(BLOCK, stax.Relu()).init_fn(key, [FLAT, FLAT])
    assert (type(shape), type(params)) == (tuple, tuple)


def test_copies_are_applied_one_after_the_other():
    x = np.random.default_rng(0).normal(size=FLAT)
    copies = stax.repeat(BLOCK, 3)
    _, params = copies.init_fn(jax.random.key(1), FLAT)
    y = x
    for k in range(3):
        y = BLOCK.apply_fn(jax.tree.map(lambda a, k=k: a[k], params), y)
    np.testing.assert_allclose(copies.apply_fn(params, x), y, rtol=1e-12)
    nothing = stax.repeat(BLOCK, 0)
    _, params = nothing.init_fn(jax.random.key(1), FLAT)
    np.testing.assert_array_equal(nothing.apply_fn(params, x), x)
    np.testing.assert_allclose(nothing.kernel_fn(x).nngp, x @ x.T / 3, rtol=1e-12)


def test_copies_that_change_the_shape_are_held_one_by_one():
    x = np.random.default_rng(0).normal(size=FLAT)
    copies, same = stax.repeat(stax.Dense(4), 2), stax.serial(stax.Dense(4), stax.Dense(4))
    _, params = copies.init_fn(jax.random.key(1), FLAT)
    _, wanted = same.init_fn(jax.random.key(1), FLAT)
    assert [a.shape for a in jax.tree.leaves(params)] == [(3, 4), (4, 4)]
    np.testing.assert_array_equal(copies.apply_fn(params, x), same.apply_fn(wanted, x))


def test_copies_draw_masks_of_their_own():
    x = np.ones((2, 100))
    copies = stax.repeat(stax.Dropout(0.5), 2)
    _, params = copies.init_fn(jax.random.key(0), x.shape)
    kept = np.mean(np.asarray(copies.apply_fn(params, x, rng=jax.random.key(1))) > 0)
    assert 0.15 < kept < 0.35


def test_copies_are_compiled_at_the_first_draw_alone(record_programs):
    init_fn = stax.repeat(BLOCK, 5)[0]
    first = init_fn(jax.random.key(0), (2, 3))[1]
    record_programs.clear()
    jax.block_until_ready(init_fn(jax.random.key(1), [2, 3]))
    assert not record_programs
    again = init_fn(jax.random.key(0), (2, 3))[1]
    assert jax.tree.all(jax.tree.map(np.array_equal, first, again))


@pytest.fixture
def record_programs():
    """The programs that JAX has compiled since this was cleared."""
    compiled = []

    def heard(event, *args, **kwargs):
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(heard)
    yield compiled
    jax.monitoring.unregister_event_duration_listener(heard)


#: Networks whose parameters do not depend on the number of positions, and the shape that is left of
#: images of unknown size.
ANY_SIZE = [
    (stax.Conv(4, (3, 3), (2, 2)), (-1, -1, -1, 4)),
    (stax.serial(stax.Conv(4, (3, 3), padding="SAME"), stax.GlobalAvgPool(), BLOCK), (-1, 3)),
    (stax.serial(stax.ConvTranspose(4, (2, 2), (2, 2)), stax.AvgPool((2, 2))), (-1, -1, -1, 4)),
    (
        stax.serial(stax.DepthwiseConv((2, 2), depth_multiplier=2), stax.LayerNorm((1, 2, 3))),
        (-1, -1, -1, 6),
    ),
    (stax.GlobalSelfAttention(6, 4, 4, 2), (-1, -1, -1, 6)),
    (stax.repeat(stax.Conv(3, (2, 2)), 2), (-1, -1, -1, 3)),
    (
        stax.serial(stax.FanOut(2), stax.parallel(BLOCK, BLOCK), stax.FanInConcat(1)),
        (-1, -1, -1, 3),
    ),
]
#: Networks whose parameters do, and a shape of inputs that does not tell what they depend on.
ONE_SIZE = [
    (stax.serial(stax.Flatten(), BLOCK), "Dense", (-1, -1, 4, 3)),
    (stax.ConvLocal(4, (2, 2)), "ConvLocal", (2, 4, -1, 3)),
    (stax.GlobalSelfAttention(6, 4, 4, 2, pos_emb_type="SUM"), "GlobalSelf", (2, 4, -1, 3)),
    (stax.Conv(4, (2, 2)), "Conv", (2, 4, 4, -1)),
]


def test_images_of_unknown_size():
    key = jax.random.key(7)
    for layer, shape_left in ANY_SIZE:
        shape, params = layer.init_fn(key, (-1, -1, -1, 3))
        _, known = layer.init_fn(key, IMAGES)
        assert shape == shape_left, layer
        jax.tree.map(np.testing.assert_array_equal, params, known)
        assert layer.apply_fn(params, np.ones(IMAGES)).shape[-1] == shape_left[-1]
    for layer, name, shape in ONE_SIZE:
        with pytest.raises(ValueError, match=f"{name}.*not known .-1.; give init_fn the size"):
            layer.init_fn(key, shape)
