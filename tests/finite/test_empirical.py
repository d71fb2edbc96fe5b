"""Empirical kernels against Jacobians by finite differences and products written out in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._finite import (
    NtkImplementation,
    empirical_kernel_fn,
    empirical_nngp_fn,
    empirical_ntk_fn,
)

SHAPE = (2, 3)
EXACT = [1, 2, 3]


def parameters(dtype=np.float64):
    r = np.random.RandomState(0)
    shapes = {"in": (4, 5), "bias": (5,), "out": (5, 6)}
    return {name: r.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def inputs(n, dtype=np.float64, seed=1):
    return np.random.RandomState(seed).standard_normal((n, 4)).astype(dtype)


def network(params, x, gain=1.0):
    hidden = jnp.tanh(x @ params["in"] + params["bias"][None])
    return gain * (hidden @ params["out"]).reshape(len(x), *SHAPE)


def jacobian(f, params, x):
    """Central differences of f with respect to each parameter, the parameters last."""
    columns = []
    for name, value in params.items():
        for place in np.ndindex(value.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = {**params, name: value.copy()}
                moved[name][place] += step
                ends.append(np.asarray(f(moved, x)))
            columns.append((ends[0] - ends[1]) / 2e-6)
    return np.stack(columns, axis=-1)


def outer(a, b, traced, diagonal):
    """Products over the last axis of a, b, with the roles of the others applied one by one."""
    rank = a.ndim - 1
    letters = "abcdefgh"[:rank]
    full = np.einsum(f"{letters}z,{letters.upper()}z->{letters}{letters.upper()}", a, b)
    left, right = list(letters), list(letters.upper())
    result = ""
    for axis in range(rank):
        if axis in traced or axis in diagonal:
            right[axis] = left[axis]
        if axis not in traced:
            result += left[axis] if axis in diagonal else left[axis] + right[axis]
    total = np.einsum(f"{''.join(left)}{''.join(right)}->{result}", full)
    return total / np.prod([a.shape[axis] for axis in traced])


def assert_close(got, want, tol=1e-8):
    got = np.asarray(got)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=tol * np.max(np.abs(want)))


ROLES = [
    ((), ()),
    ((0,), ()),
    ((2,), ()),
    ((0, 1, 2), ()),
    ((), (0,)),
    ((), (1,)),
    ((), (0, 2)),
    ((1,), (0,)),
    ((0,), (2,)),
    ((2,), (1,)),
    ((0, 2), (1,)),
    ((1, 2), (0,)),
]


@pytest.fixture(scope="module")
def jacobians():
    x1, x2 = inputs(3), inputs(3, seed=2)
    f = jax.jit(network)
    return x1, x2, jacobian(f, parameters(), x1), jacobian(f, parameters(), x2)


@pytest.mark.parametrize(("traced", "diagonal"), ROLES)
def test_ntk_with_all_roles_of_axes(jacobians, traced, diagonal):
    x1, x2, j1, j2 = jacobians
    want = outer(j1, j2, traced, diagonal)
    for implementation, vmap_axes in itertools.product(EXACT, (None, 0)):
        ntk_fn = empirical_ntk_fn(network, traced, diagonal, vmap_axes, implementation)
        assert_close(jax.jit(ntk_fn)(x1, x2, parameters()), want)


@pytest.mark.parametrize(("traced", "diagonal"), ROLES)
def test_nngp_with_all_roles_of_axes(traced, diagonal):
    x1, x2 = inputs(3), inputs(3, seed=2)
    y1, y2 = (np.asarray(network(parameters(), x))[..., None] for x in (x1, x2))
    nngp_fn = empirical_nngp_fn(network, traced, diagonal)
    assert_close(nngp_fn(x1, x2, parameters()), outer(y1, y2, traced, diagonal), tol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("vmap_axes", [None, 0])
@pytest.mark.parametrize("implementation", list(NtkImplementation))
def test_batches_of_different_size(dtype, vmap_axes, implementation):
    x1, x2, params = inputs(4, dtype), inputs(1, dtype, 2), parameters(dtype)
    exact = [jacobian(network, parameters(), x.astype(np.float64)) for x in (x1, x2)]
    ntk_fn = empirical_ntk_fn(
        network, trace_axes=(-1, -2), vmap_axes=vmap_axes, implementation=implementation
    )
    got = jax.jit(ntk_fn)(x1, x2, params)
    assert got.dtype == dtype
    assert_close(got, outer(*exact, (1, 2), ()), tol=1e-5 if dtype == np.float32 else 1e-8)


@pytest.mark.parametrize("vmap_axes", [None, 0])
@pytest.mark.parametrize("implementation", EXACT)
@pytest.mark.parametrize("diagonal", [(), (0,)])
def test_without_second_inputs_they_are_the_first(vmap_axes, implementation, diagonal):
    x, params = inputs(3), parameters()
    for fn in (
        empirical_ntk_fn(network, (-1,), diagonal, vmap_axes, implementation),
        empirical_nngp_fn(network, (-1,), diagonal),
    ):
        got, want = jax.jit(lambda p, fn=fn: (fn(x, None, p), fn(x, x, p)))(params)
        assert_close(got, np.asarray(want), tol=1e-13)


@pytest.mark.parametrize("implementation", EXACT)
def test_examples_along_other_axes(implementation):
    def turned(params, x, shift):
        return jnp.moveaxis(network(params, x.T) + (shift @ params["out"])[:, :1, None], 0, 2)

    x1, x2, params = inputs(3).T, inputs(2, seed=2).T, parameters()
    shifts = (np.random.RandomState(5).standard_normal((3, 5)), np.ones((2, 5)))
    whole = empirical_ntk_fn(turned, (0,), implementation=implementation)
    mapped = empirical_ntk_fn(
        turned, (0,), vmap_axes=(1, 2, {"shift": 0}), implementation=implementation
    )
    want, got = (
        jax.jit(lambda p, fn=fn: fn(x1, x2, p, shift=shifts))(params) for fn in (whole, mapped)
    )
    assert want.shape == (3, 3, 3, 2)
    assert_close(got, np.asarray(want), tol=1e-13)


def test_a_pair_of_keywords_gives_one_to_each_batch():
    x1, x2, params = inputs(3), inputs(2, seed=2), parameters()
    for fn in (empirical_ntk_fn(network), empirical_nngp_fn(network)):
        plain = np.asarray(fn(x1, x2, params))
        assert_close(fn(x1, x2, params, gain=(2.0, 5.0)), 10 * plain, tol=1e-13)
        assert_close(fn(x1, x2, params, gain=3.0), 9 * plain, tol=1e-13)


def test_two_batches_draw_apart_and_one_batch_once():
    def noisy(params, x, rng):
        return params + jax.random.normal(rng, (len(x), 1))

    nngp_fn = empirical_nngp_fn(noisy)
    x, key, params = np.ones((4, 1)), jax.random.key(0), np.zeros((1, 1))
    alone = np.asarray(nngp_fn(x, None, params, rng=key))
    assert_close(alone, alone.T)
    assert_close(np.diag(alone), np.asarray(noisy(params, x, key))[:, 0] ** 2)
    apart = np.asarray(nngp_fn(x, x, params, rng=key))
    assert np.max(np.abs(apart - apart.T)) > 0.1


def test_each_output_of_a_tree_has_its_kernel():
    def two(params, x):
        return {"a": network(params, x["left"]), "b": [x["right"] @ params["in"]]}

    x1 = {"left": inputs(3), "right": inputs(2)}
    params = parameters()
    got = empirical_ntk_fn(two)(x1, None, params)
    assert_close(got["a"], np.asarray(empirical_ntk_fn(network)(x1["left"], None, params)))
    assert_close(got["b"][0], x1["right"] @ x1["right"].T)
    assert empirical_nngp_fn(two)(x1, None, params)["b"][0].shape == (2, 2)


def test_integer_parameters_are_constants():
    def selected(params, x):
        return x @ params[0][:, params[1]]

    x = inputs(3)
    params = (parameters()["in"], np.array([0, 2]))
    assert_close(empirical_ntk_fn(selected)(x, None, params), x @ x.T)


def test_batch_statistics_couple_examples():
    def centred(params, x):
        y = x @ params
        return y - y.mean(axis=0, keepdims=True)

    x = inputs(5)
    centre = np.eye(5) - 1 / 5
    got = empirical_ntk_fn(centred)(x, None, parameters()["in"])
    assert_close(got, centre @ x @ x.T @ centre)


def test_kernel_fn_answers_by_name():
    x1, x2, params = inputs(3), inputs(2, seed=2), parameters()
    kernel_fn = empirical_kernel_fn(network, trace_axes=(-1,), vmap_axes=0, implementation=2)
    both = kernel_fn(x1, x2, None, params)
    assert both._fields == ("nngp", "ntk")
    assert kernel_fn(x1, x2, ("ntk", "nngp"), params)._fields == ("ntk", "nngp")
    assert_close(kernel_fn(x1, x2, "ntk", params), np.asarray(both.ntk))
    assert_close(both.ntk, np.asarray(empirical_ntk_fn(network)(x1, x2, params)))
    assert_close(both.nngp, np.asarray(empirical_nngp_fn(network)(x1, x2, params)))


def test_differentiable_in_the_parameters():
    x, params = inputs(3), parameters()

    @jax.jit
    def total(step):
        moved = {**params, "in": params["in"] + step}
        return jnp.sum(empirical_ntk_fn(network)(x, None, moved) ** 2)

    slope = (total(1e-5) - total(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(total)(0.0), slope, rtol=1e-6)
