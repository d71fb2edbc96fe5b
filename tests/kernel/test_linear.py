"""A linear step is computed as it stands, and backwards by the transpose written beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._kernel.algebra.boundary import linear_stored
from ntkjax._kernel.algebra.linear import LinearStep

_RNG = np.random.default_rng(0)


def _array(*shape):
    return jnp.asarray(_RNG.standard_normal(shape), jnp.float32)


def _turned(known, x):
    """Two outputs, linear in two inputs, with weights that matter."""
    return {"sum": jnp.roll(x[0], 1) * known["a"] + x[1], "scaled": jnp.sin(known["b"]) * x[1]}


def _turned_back(known, cotangent):
    first = jnp.roll(cotangent["sum"] * known["a"], -1)
    return first, cotangent["sum"] + jnp.sin(known["b"]) * cotangent["scaled"]


KNOWN = {"a": _array(5), "b": _array(5)}
X = (_array(5), _array(5))


def _of(map_):
    def fn(known, x):
        made = map_(known, x)
        return jnp.sum(jnp.cos(made["sum"]) * made["scaled"])

    return fn


step, plain = _of(LinearStep(_turned, _turned_back)), _of(_turned)
stored = _of(lambda known, x: linear_stored(_turned, known, x))


@pytest.mark.parametrize("made", [step, stored], ids=["pair", "stored"])
@pytest.mark.parametrize(
    "derivative",
    [
        jax.value_and_grad,
        lambda fn: jax.grad(fn, 1),
        lambda fn: jax.jacfwd(fn, (0, 1)),
        lambda fn: jax.jacrev(jax.jacfwd(fn, 1), (0, 1)),
        lambda fn: jax.jacfwd(jax.jacrev(fn, (0, 1)), (0, 1)),
        lambda fn: jax.jacrev(jax.jacrev(fn, (0, 1)), (0, 1)),
        lambda fn: jax.grad(jax.checkpoint(fn), 1),
    ],
    ids=["first", "by x", "forwards", "both", "forwards of backwards", "twice", "checkpoint"],
)
def test_derivatives_are_those_of_the_map(made, derivative):
    found, expected = derivative(made)(KNOWN, X), derivative(plain)(KNOWN, X)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected
    )


@pytest.mark.parametrize("axes", [(None, 0), (0, None), (0, 0), ({"a": 0, "b": None}, (None, 0))])
def test_many_at_once(axes):
    def many(leaf, axis):
        return leaf if axis is None else jnp.stack([leaf, 2 * leaf, leaf - 1])

    def of_tree(tree, axis):
        whole = axis is None or isinstance(axis, int)
        axis = jax.tree.map(lambda _: axis, tree) if whole else axis
        return jax.tree.map(many, tree, axis, is_leaf=lambda a: a is None)

    known, x = of_tree(KNOWN, axes[0]), of_tree(X, axes[1])
    for fn in (lambda f: f, lambda f: jax.grad(f, 1)):
        found, expected = (jax.vmap(fn(f), axes)(known, x) for f in (step, plain))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected
        )


def test_the_transpose_is_the_one_that_was_written():
    def wrong(_, cotangent):
        return 7 * cotangent

    once = LinearStep(lambda _, x: x, wrong)
    assert jax.grad(lambda x: once(None, x))(1.0) == 7
    # Its own transpose is the step again.
    (back,) = jax.linear_transpose(lambda x: once(None, x), 1.0)(3.0)
    assert back == 21
    twice = jax.linear_transpose(
        lambda ct: jax.linear_transpose(lambda x: once(None, x), 1.0)(ct), 1.0
    )
    assert twice((3.0,)) == (3.0,)


def test_of_nothing_that_changes_there_is_no_derivative():
    known = jax.grad(lambda x: x + 0 * jnp.sum(step(KNOWN, X)))(1.0)
    assert known == 1
