"""Empirical kernels stay within the memory budget, and are the same whatever it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax as nt
from ntkjax import stax
from ntkjax._finite.dependence import EXAMPLE, ONCE, ROW
from ntkjax._finite.footprint import footprint
from ntkjax._finite.program import traced

RNG = np.random.default_rng(0)
INIT, APPLY, _ = stax.serial(
    stax.Conv(8, (3, 3), padding="SAME", b_std=0.1),
    stax.Relu(),
    stax.Conv(6, (2, 2), (2, 2)),
    stax.Erf(),
    stax.Flatten(),
    stax.Dense(6),
)
X1, X2 = RNG.normal(size=(5, 6, 6, 2)), RNG.normal(size=(3, 6, 6, 2))
_, PARAMS = INIT(jax.random.key(0), X1.shape)


def network(params, x):
    return APPLY(params, x).reshape(len(x), 3, 2)


@pytest.mark.parametrize(
    ("implementation", "vmap_axes", "traced_axes", "diagonal", "budget"),
    [
        (0, 0, (), (), 60_000),
        (1, None, (), (1,), 1),
        (2, 0, (1,), (), 60_000),
        (3, 0, (2,), (), 1),
        (3, 0, (1,), (0,), 60_000),
    ],
)
def test_tiles_of_any_size_give_the_same(implementation, vmap_axes, traced_axes, diagonal, budget):
    x2 = None if 0 in diagonal else X2
    plain = nt.empirical_ntk_fn(network, traced_axes, diagonal, implementation=1)
    ntk_fn = nt.empirical_ntk_fn(network, traced_axes, diagonal, vmap_axes, implementation)
    wanted = jax.jit(plain)(X1, x2, PARAMS)
    with nt.config.set(memory_budget=budget):
        found = jax.jit(ntk_fn)(X1, x2, PARAMS)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_tiles_of_a_batch_with_itself():
    ntk_fn = nt.empirical_ntk_fn(network, (), (), 0)
    with nt.config.set(memory_budget=60_000):
        found = jax.jit(lambda p: ntk_fn(X1, None, p))(PARAMS)
    wanted = jax.jit(lambda p: ntk_fn(X1, None, p))(PARAMS)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("implementation", [1, 2, 3])
def test_what_xla_takes_is_within_the_budget(implementation):
    """Unbounded, 24 images of 16 x 16 positions and 32 channels take 24 * 10 * 2 * 32 KiB."""
    init_fn, apply_fn, _ = stax.serial(
        stax.Conv(32, (3, 3), padding="SAME", b_std=0.1),
        stax.Relu(),
        stax.GlobalAvgPool(),
        stax.Dense(10),
    )
    x = np.ones((24, 16, 16, 1), np.float32)
    _, params = init_fn(jax.random.key(0), x.shape)
    params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    ntk_fn = nt.empirical_ntk_fn(apply_fn, (), (), 0, implementation)
    taken = []
    for budget in (2**21, 2**26):
        with nt.config.set(memory_budget=budget):
            # A function of its own: JAX knows no budget, and would not trace the same one again.
            program = jax.jit(lambda p: ntk_fn(x, None, p)).lower(params).compile()
        taken.append(program.memory_analysis().temp_size_in_bytes)
        assert taken[-1] < 1.1 * budget + 4 * (24 * 10) ** 2
    assert taken[1] > 4 * taken[0]  # what there is, is used


def test_the_forecast_is_what_xla_takes():
    """Of a pass back through two convolutions, mapped over examples and rows."""
    w1, w2 = jnp.ones((3, 3, 4, 8), jnp.float32), jnp.ones((3, 3, 8, 8), jnp.float32)

    def passes(w, x, cotangent):
        def network(w):
            y = x
            for filters in w:
                y = jax.lax.conv_general_dilated(
                    y, filters, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
                )
                y = jnp.tanh(y)
            return y.mean((1, 2))

        return jax.vjp(network, w)[1](cotangent)

    x, back = jnp.ones((1, 20, 20, 4), jnp.float32), jnp.ones((1, 8), jnp.float32)
    expected = footprint(traced(passes, [w1, w2], x, back), [ONCE, ONCE, EXAMPLE, ROW])
    for examples, rows in ((1, 1), (6, 1), (3, 5)):
        xs = jnp.ones((examples, *x.shape), jnp.float32)
        rs = jnp.ones((rows, *back.shape), jnp.float32)
        mapped = jax.vmap(jax.vmap(passes, (None, None, 0)), (None, 0, None))
        program = jax.jit(mapped).lower([w1, w2], xs, rs).compile()
        taken = program.memory_analysis()
        taken = taken.temp_size_in_bytes + taken.output_size_in_bytes
        assert 0.4 * expected.bytes(examples, rows) < taken < 1.2 * expected.bytes(examples, rows)


@pytest.mark.parametrize("way", ["checkpoint", "cond", "cond of examples"])
def test_what_is_held_within_checkpoints_and_branches_is_counted(way):
    """Between small inputs and outputs, 64 times as much is held, of every example.

    No more, that is; where XLA makes all of this one loop, it holds less.
    """

    def wide(w, x):
        y = jnp.tanh(x @ w)
        return jnp.sin(y @ y.T).sum(1)

    def network(w, x):
        if way == "checkpoint":
            return jax.checkpoint(wide)(w, x)
        number = w[0, 0] if way == "cond" else x[0, 0]
        return jax.lax.cond(number > 0, wide, lambda w, x: x[:, 0], w, x)

    w, x = jnp.ones((4, 1024), jnp.float32), jnp.ones((256, 4), jnp.float32)
    expected = footprint(traced(network, w, x), [ONCE, EXAMPLE])
    inside = footprint(traced(wide, w, x), [ONCE, EXAMPLE])
    for examples in (1, 5):
        mapped = jax.vmap(network, (None, 0))
        xs = jnp.ones((examples, *x.shape), jnp.float32)
        taken = jax.jit(mapped).lower(w, xs).compile().memory_analysis()
        taken = taken.temp_size_in_bytes + taken.output_size_in_bytes
        counted = expected.bytes(examples, 1)
        assert taken < 1.4 * counted
        assert inside.bytes(examples, 1) <= counted < 1.5 * inside.bytes(examples, 1)
