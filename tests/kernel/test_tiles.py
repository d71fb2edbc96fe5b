"""Kernels computed in tiles and blocks equal those computed whole, on every path that tiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax
from ntkjax import stax
from ntkjax._kernel.algebra.lanes import diagonals_to_fill
from ntkjax._kernel.engine.tiles import mirrored
from ntkjax._kernel.plan import tiling as tiles
from ntkjax._kernel.plan.resources import Resources


def conv(padding="SAME", strides=(1, 1)):
    return stax.serial(stax.Conv(4, (3, 3), strides, padding, 1.3, 0.2), stax.Relu())


def residual():
    branch = stax.serial(stax.Relu(), stax.Conv(4, (3, 3), padding="SAME"))
    return stax.serial(
        stax.Conv(4, (3, 3), padding="SAME"),
        stax.FanOut(2),
        stax.parallel(branch, stax.Identity()),
        stax.FanInSum(),
    )


NETWORKS = {
    "dense": (stax.serial(*[stax.Dense(8), stax.Relu()] * 3, stax.Dense(1)), (6,)),
    "global pool": (stax.serial(conv(), conv(), stax.GlobalAvgPool(), stax.Dense(1)), (4, 5, 3)),
    "relu after global pool": (
        stax.serial(conv("VALID"), stax.GlobalAvgPool(), stax.Dense(8), stax.Relu()),
        (4, 5, 3),
    ),
    "two pools": (
        stax.serial(conv(), stax.AvgPool((2, 2), (2, 2)), conv(), stax.Flatten(), stax.Dense(1)),
        (4, 6, 3),
    ),
    "residual": (stax.serial(residual(), stax.GlobalAvgPool()), (4, 3, 2)),
    "all positions": (stax.serial(conv("VALID", (2, 1)), stax.Dense(4)), (4, 5, 3)),
    "batch last": (
        stax.serial(
            stax.Conv(4, (3,), dimension_numbers=("CHN", "HIO", "CHN")),
            stax.Relu(),
            stax.GlobalAvgPool(batch_axis=-1, channel_axis=0),
        ),
        None,
    ),
}


def inputs(shape, count, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, 5, count) if shape is None else (count, *shape))


@pytest.fixture
def tiny_tiles(monkeypatch):
    """Tiles of few images; compiled programs of other sizes are forgotten."""
    monkeypatch.setattr(tiles, "SIDE", 4)
    monkeypatch.setattr(tiles, "WIDE_SIDE", 4)
    monkeypatch.setattr(tiles, "BLOCK", 1)
    jax.clear_caches()
    with ntkjax.config.set(memory_budget=2**16):
        yield
    jax.clear_caches()


@pytest.fixture(params=list(NETWORKS))
def network(request):
    return NETWORKS[request.param]


def test_tiled_equals_whole(network, request):
    layer, shape = network
    x1, x2 = inputs(shape, 5, 0), inputs(shape, 3, 1)
    whole = [layer.kernel_fn(x1, x2), layer.kernel_fn(x1)]
    request.getfixturevalue("tiny_tiles")
    tiled = [layer.kernel_fn(x1, x2), layer.kernel_fn(x1)]
    for a, b in zip(jax.tree.leaves(tiled), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_several_inputs_and_outputs_in_tiles(request):
    layer = stax.serial(
        stax.parallel(stax.Dense(8), stax.Dense(8)),
        stax.FanInSum(),
        stax.Relu(),
        stax.FanOut(2),
        stax.parallel(stax.Dense(1), stax.Dense(1, 2.0)),
    )
    x1 = [inputs((3,), 5, 0), inputs((4,), 5, 1)]
    whole = layer.kernel_fn(x1, None, ("nngp", "ntk"))
    request.getfixturevalue("tiny_tiles")
    tiled = layer.kernel_fn(x1, None, ("nngp", "ntk"))
    for a, b in zip(jax.tree.leaves(tiled), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_gradients_through_tiles(request):
    layer, shape = NETWORKS["relu after global pool"]
    x1, x2 = jnp.asarray(inputs(shape, 3, 0)), jnp.asarray(inputs(shape, 2, 1))

    def total(x1, x2):
        return jnp.sum(layer.kernel_fn(x1, x2, "ntk") ** 2)

    whole = jax.grad(total, (0, 1))(x1, x2)
    request.getfixturevalue("tiny_tiles")
    tiled = jax.grad(total, (0, 1))(x1, x2)
    for a, b in zip(tiled, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def resources(budget=10**9, workers=1):
    return Resources(budget, (), workers, cores=1)


@pytest.mark.parametrize("symmetric", [False, True])
def test_few_images_are_shared_by_diagonals(symmetric):
    need = tiles.Need(64, 800, 800)
    tiling = tiles.choose_tiling(8, 8, need, symmetric, resources(workers=4), shares=4)
    assert len(tiling.tiles) % 4 == 0
    many = tiles.choose_tiling(512, 512, need, symmetric, resources(workers=4), shares=4)
    assert many.shares == 1


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("budget", [1, 10**6, 10**8])
def test_choice_of_tiles_respects_memory(budget, symmetric):
    need = tiles.Need(positions=64, pair=8000, image=10_000)
    tiling = tiles.choose_tiling(1000, 1000, need, symmetric, resources(budget))
    size1, size2 = tiling.size1, tiling.size2
    assert size1 == size2 == 1 or need.bytes(size1, size2) <= budget
    assert size1 % tiling.block == 0
    assert size1 == size2 or not symmetric
    covered = {(i, j) for i, j, _ in tiling.tiles}
    covered |= {(j, i) for i, j in covered} if symmetric else set()
    assert len(covered) == tiling.grid[0] * tiling.grid[1]
    assert tiling.grid[0] * size1 >= 1000
    assert tiling.grid[1] * size2 >= 1000


def test_few_images_are_one_tile():
    need = tiles.Need(64, 800, 800)
    tiling = tiles.choose_tiling(3, 2, need, False, resources())
    assert (tiling.size1, tiling.size2, tiling.grid) == (4, 2, (1, 1))  # a vector of eight pairs


@pytest.mark.parametrize("count", [5, 9, 10, 17, 20, 33, 50, 100])
@pytest.mark.parametrize("symmetric", [False, True])
def test_no_pairs_are_left_over_of_vectors(count, symmetric):
    """XLA makes those number by number, or, of few lanes, whole operations so."""
    for members in (lambda images: 1, diagonals_to_fill):
        need = tiles.Need(64, 800, 800, members)
        tiling = tiles.choose_tiling(count, count, need, symmetric, resources())
        lanes = tiling.size2 * members(tiling.size2)
        assert lanes % 8 == 0 or lanes == 12 or (lanes == 4 and tiling.block % 4 == 0)
        assert lanes > 8 or tiling.block % 4 == 0


def test_diagonals_that_fill_vectors_spare_images():
    need = tiles.Need(64, 800, 800, diagonals_to_fill)
    for count in range(1, 17):
        tiling = tiles.choose_tiling(count, count, need, False, resources())
        assert tiling.size1 == count
        assert tiling.size2 <= count + (count > 8)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("workers", [2, 3, 16])
@pytest.mark.parametrize("count", [5, 16, 64, 200])
def test_workers_have_equal_shares(count, workers, symmetric):
    need = tiles.Need(64, 800, 800, members=diagonals_to_fill)  # so that tiles of any size are fast
    tiling = tiles.choose_tiling(count, count, need, symmetric, resources(workers=workers))
    longest = -(-len(tiling.tiles) // workers) * tiling.size1 * tiling.size2
    needed = count * (count + 1) / 2 if symmetric else count**2
    assert tiling.grid[0] * tiling.size1 >= count
    assert tiling.size1 == tiling.size2 or not symmetric
    assert longest >= needed / workers
    if count >= 4 * workers:
        # But for the image or two by which tiles overlap.
        size1, size2 = (-(-count // number) for number in tiling.grid)
        assert -(-len(tiling.tiles) // workers) * size1 * size2 < 1.5 * needed / workers


def test_pairs_of_a_symmetric_matrix_are_made_once():
    need = tiles.Need(64, 800, 800)
    tiling = tiles.choose_tiling(256, 256, need, True, resources())
    made = len(tiling.tiles) * tiling.size1**2
    assert made < 0.6 * 256**2


@pytest.mark.parametrize("shape", [(16, 16, 1), (6, 6, 3, 3)])
def test_no_numbers_are_made_within_the_transpose_of_a_matrix(shape):
    """Of such a loop, XLA on CPU makes a program that takes minutes to compile for 500 images."""
    fn = jax.jit(lambda a: mirrored(jnp.sin(a), positions=True))
    text = fn.lower(jax.ShapeDtypeStruct(shape, np.float32)).compile().as_text()
    loops = [part for part in text.split("\n}") if "transpose(" in part]
    assert loops
    assert not [part for part in loops if " iota(" in part]
