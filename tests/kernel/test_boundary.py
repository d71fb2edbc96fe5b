"""What stands behind a boundary is made once and stored, forwards and backwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._kernel.algebra.boundary import linear_stored, materialized

on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="XLA on CPU alone")


def _smooth(x):
    return jnp.log1p(x * x)


def _taps(x):
    """Nine reads of each entry, which XLA would fuse what makes it into."""
    return sum(jnp.roll(x, (i, j), (0, 1)) * (1 + i) * (2 - j) for i in range(3) for j in range(3))


def _calls(fn, x):
    """How many calls are left in the compiled program that XLA was told not to inline."""
    text = jax.jit(fn).lower(x).compile().as_text()
    return sum("call(" in line and 'inlineable="false"' in line for line in text.splitlines())


@on_cpu
def test_calls_stay_and_those_within_do_not():
    def made(x):
        return _taps(materialized(lambda x: jax.jit(_smooth)(jax.jit(jnp.square)(x)), x))

    x = jnp.ones((40, 50))
    assert _calls(made, x) == 1
    assert 1 <= _calls(jax.grad(lambda x: jnp.sum(made(x))), x) <= 2


@on_cpu
def test_cotangents_of_linear_functions_are_stored():
    def made(x):
        steps = (
            lambda _, x: sum(jnp.roll(x, i, 0) * (1 + i) for i in range(3)),
            lambda _, x: sum(jnp.roll(x, j, 1) * (2 - j) for j in range(3)),
        )
        return jnp.sum(_smooth(linear_stored(lambda _, x: _taps(x), None, x, steps)))

    x = jnp.asarray(np.random.default_rng(0).standard_normal((40, 50)), jnp.float32)
    assert _calls(made, x) == 0
    assert _calls(jax.grad(made), x) == 2
    expected = jax.grad(lambda x: jnp.sum(_smooth(_taps(x))))(x)
    np.testing.assert_allclose(jax.grad(made)(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.jacfwd, jax.jacrev, jax.hessian])
def test_under_transformations(transform):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 4)), jnp.float32)
    made = transform(lambda x: materialized(jnp.sin, x) * x)(x)
    expected = transform(lambda x: jnp.sin(x) * x)(x)
    np.testing.assert_allclose(made, expected, rtol=1e-6, atol=1e-7)
