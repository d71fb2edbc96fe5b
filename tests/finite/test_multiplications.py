"""The multiplications that are forecast are those that one counts by hand, whatever holds them."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from ntkjax._finite.dependence import EXAMPLE, ONCE, ROW
from ntkjax._finite.multiplications import multiplications
from ntkjax._finite.program import traced

#: Of x @ w, with x of (4, 8) for each example and w of (8, 8), and of w @ w.
PRODUCT, SQUARE = 4 * 8 * 8, 8 * 8 * 8


def twice(w, x):
    return x @ w @ w


def once(w, x):
    return x @ w


def turns(w, x):
    """Three turns, whose carry is a number of parameters alone before the first one."""

    def turn(carry, x_of_turn):
        return carry @ w + x_of_turn, carry

    return lax.scan(turn, w[:4], jnp.stack([x, x, x]))[0]


def until(w, x):
    return lax.while_loop(lambda x: jnp.sum(x) < 9, lambda x: x @ w, x)


@jax.custom_jvp
def own(w, x):
    return twice(w, x)


own.defjvp(lambda primals, tangents: (twice(*primals), tangents[1]))

CASES = {
    "a checkpoint": (jax.checkpoint(twice), [0, 2 * PRODUCT]),
    "of parameters alone": (jax.checkpoint(lambda w, x: x @ (w @ w)), [SQUARE, PRODUCT]),
    "the larger branch": (lambda w, x: lax.cond(w[0, 0] > 0, twice, once, w, x), [0, 2 * PRODUCT]),
    "all branches": (lambda w, x: lax.cond(x[0, 0] > 0, twice, once, w, x), [0, 3 * PRODUCT]),
    "of the example through its choice": (
        lambda w, x: lax.cond(x[0, 0] > 0, lambda w: w @ w, lambda w: w, w),
        [0, SQUARE],
    ),
    "branches of branches": (
        lambda w, x: lax.switch(jnp.int32(w[0, 0]), [once, jax.checkpoint(twice), once], w, x),
        [0, 2 * PRODUCT],
    ),
    "turns of a loop": (turns, [0, 3 * PRODUCT]),
    "turns that nobody knows": (until, [0, PRODUCT]),
    "a compiled part": (jax.jit(twice), [0, 2 * PRODUCT]),
    "a derivative of its own": (own, [0, 2 * PRODUCT]),
}


@pytest.mark.parametrize("name", list(CASES))
def test_multiplications_are_those_counted_by_hand(name):
    function, (alone, each) = CASES[name]
    program = traced(function, jnp.ones((8, 8)), jnp.ones((4, 8)))
    assert multiplications(program, [ONCE, EXAMPLE]).tolist() == [alone, each, 0]


def test_a_checkpoint_is_made_again_for_each_example_and_not_for_each_row():
    """Back through tanh(x w) w: what comes before is of the example, what goes back of the row."""

    def back(w, x, cotangent):
        network = jax.checkpoint(lambda w: jnp.tanh(x @ w) @ w)
        return jax.vjp(network, w)[1](cotangent)[0]

    w, x = jnp.ones((8, 8)), jnp.ones((4, 8))
    counted = multiplications(traced(back, w, x, x), [ONCE, EXAMPLE, ROW])
    # Forward: x w, and its product with w, which nothing reads. Again: x w. Back: two products for
    # the two weights, and one for what is below the second.
    assert counted.tolist() == [0, 3 * PRODUCT, 3 * PRODUCT]
