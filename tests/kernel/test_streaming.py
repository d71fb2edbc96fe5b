"""Diagonals that stream give what all stored pairs of positions give, on random architectures."""

import jax
import numpy as np
import pytest

from ntkjax import stax
from ntkjax._kernel.plan import runs, segment
from ntkjax._kernel.plan.runs import Run
from tests.helpers import fast_jit

PADDINGS = ("SAME", "VALID", "CIRCULAR")


def stored():
    """A user's layer that does nothing, for which all pairs of positions are stored."""
    return (lambda rng, shape: (shape, ()), lambda params, x, **_: x, lambda kernel: kernel)


def architecture(seed):
    """Convolutions with nonlinearities, perhaps a pool and a residual block; then a readout."""
    rng = np.random.default_rng(seed)
    pick = lambda *choices: choices[rng.integers(len(choices))]  # noqa: E731

    def conv(strides=(1, 1), padding="SAME"):
        taps = tuple(int(n) for n in rng.integers(1, 4, 2))
        return stax.Conv(1, taps, strides, padding, rng.uniform(1.2, 1.6), rng.uniform(0.1, 0.5))

    layers = [conv(padding=pick(*PADDINGS)), pick(stax.Relu, stax.Erf)()]
    if rng.random() < 0.5:
        main = stax.serial(conv(), stax.Relu(), conv())
        layers += [stax.FanOut(2), stax.parallel(main, conv()), stax.FanInSum(), stax.Relu()]
    if rng.random() < 0.5:
        layers += [stax.AvgPool((2, 1), (pick(1, 2), 1), pick("SAME", "VALID"))]
    layers += [conv((pick(1, 2), 1), pick(*PADDINGS)), stax.LayerNorm(), stax.Abs()]
    top = pick([stax.GlobalAvgPool()], [stax.AvgPool((2, 2), padding="SAME"), stax.Flatten()])
    return stax.serial(*layers), stax.serial(*top, stax.Dense(1))


@pytest.mark.parametrize("seed", range(3))
def test_streamed_equals_stored(seed):
    body, top = architecture(seed)
    rng = np.random.default_rng(seed)
    x1, x2 = rng.normal(size=(3, 7, 6, 2)), rng.normal(size=(2, 7, 6, 2))
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-6)):
        kernels = [
            fast_jit(lambda a, b, n=network: n.kernel_fn(a, b, ("nngp", "ntk")))(
                x1.astype(dtype), x2.astype(dtype)
            )
            for network in (stax.serial(body, top), stax.serial(body, stored(), top))
        ]
        for streamed, whole in zip(*map(jax.tree.leaves, kernels), strict=True):
            assert streamed.dtype == dtype
            np.testing.assert_allclose(streamed, whole, rtol=tolerance)


def assert_equal_kernels(networks, shape):
    """Of a few float64 images of a shape, to 1e-12."""
    rng = np.random.default_rng(0)
    x1, x2 = rng.normal(size=(3, *shape)), rng.normal(size=(2, *shape))
    kernels = [
        fast_jit(lambda a, b, n=network: n.kernel_fn(a, b, ("nngp", "ntk")))(x1, x2)
        for network in networks
    ]
    for streamed, whole in zip(*kernels, strict=True):
        np.testing.assert_allclose(streamed, whole, rtol=1e-12)


@pytest.mark.parametrize(("taps", "padding"), [((3, 3), "CIRCULAR"), ((1, 1), "SAME")])
def test_equal_layers_whose_taps_stay_inside(taps, padding):
    layers = [stax.Conv(1, taps, padding=padding, W_std=1.4, b_std=0.1), stax.Relu()]
    top = stax.GlobalAvgPool(), stax.Dense(1)
    assert_equal_kernels(
        [stax.serial(*layers * 3, *top), stax.serial(*[*layers, stored()] * 3, *top)], (5, 4, 2)
    )


POOLS = {
    "2x2": ((2, 2), (2, 2), "VALID"),
    "3x2, one odd stride": ((3, 2), (2, 3), "SAME"),
    "4x4": ((4, 4), (4, 4), "SAME"),
    "overlapping": ((3, 3), (2, 2), "VALID"),
    "apart": ((1, 2), (2, 4), "SAME"),
    "a ring": ((2, 2), (2, 2), "CIRCULAR"),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools_whose_rows_come_in_pairs(name):
    def half():
        return stax.serial(stax.Conv(1, (3, 3), padding="SAME", W_std=1.4, b_std=0.1), stax.Relu())

    window, strides, padding = POOLS[name]
    pool = stax.AvgPool(window, strides, padding)
    networks = [
        stax.serial(half(), *between, pool, half(), stax.GlobalAvgPool(), stax.Dense(1))
        for between in ((), (stored(),))
    ]
    assert_equal_kernels(networks, (8, 7, 2))


def layers_without_loops(block, parts, repeats):
    """`parts * repeats` blocks, and the same as parts which are too short to be loops."""
    start, end = stax.Conv(1, (1, 1)), (stax.GlobalAvgPool(), stax.Dense(1))
    part = [*block * repeats, stored()]
    return (
        stax.serial(start, *block * (parts * repeats), *end),
        stax.serial(start, *part * parts, *end),
    )


def residual():
    main = stax.serial(stax.Relu(), stax.Conv(1, (2, 2), padding="SAME", W_std=0.7, b_std=0.1))
    return stax.serial(stax.FanOut(2), stax.parallel(main, stax.Identity()), stax.FanInSum())


@pytest.mark.parametrize(
    "block",
    [
        [stax.Conv(1, (3, 1), padding="SAME", W_std=1.4, b_std=0.1), stax.Relu()],
        [residual()],
    ],
    ids=["plain", "residual"],
)
def test_many_equal_layers(block, monkeypatch):
    found = []

    def find_runs(plan):
        found.append(runs.find_runs(plan))
        return found[-1]

    monkeypatch.setattr(segment, "find_runs", find_runs)
    networks = layers_without_loops(block, 4, 12)
    assert_equal_kernels(networks, (3, 2, 2))
    assert any(found), "the long network has no loop"
    assert not all(found), "the short parts have one"


@pytest.mark.parametrize("count", [2, 3, 4, 7, 10, 20, 23])
def test_pieces_of_a_run_follow_each_other(count):
    pieces = Run(5, 3, count).pieces
    starts = [piece.start for piece in pieces]
    assert starts == [5, *(piece.last + 1 for piece in pieces[:-1])]
    assert pieces[-1].last == Run(5, 3, count).last
    lengths = [piece.count for piece in pieces]
    assert min(lengths) >= 2
    assert len(pieces) + max(lengths) <= 2 * np.sqrt(count) + 2


@pytest.mark.parametrize("sizes", [(256,), (130,), (16, 18), (12, 16)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_a_global_pool_is_the_mean_over_all_pairs_of_positions(sizes, padding):
    # So many positions that their diagonals are added up in parts.
    x = np.random.default_rng(0).normal(size=(2, *sizes, 2))
    window = (3,) * len(sizes)
    body = stax.serial(stax.Conv(1, window, padding=padding, b_std=0.2), stax.Relu())
    pairs = body.kernel_fn(x, None, ("nngp", "ntk"))
    for mean, pooled in (
        (True, stax.serial(body, stax.GlobalAvgPool())),
        (False, stax.serial(body, stax.GlobalSumPool())),
    ):
        for whole, found in zip(pairs, pooled.kernel_fn(x, None, ("nngp", "ntk")), strict=True):
            positions = tuple(range(2, whole.ndim))
            expected = (np.mean if mean else np.sum)(np.asarray(whole), axis=positions)
            np.testing.assert_allclose(found, expected, rtol=1e-11)
