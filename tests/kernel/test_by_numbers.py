"""Derivatives by a handful of numbers go along with the kernel, and are those of the way back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from ntkjax._kernel.algebra.shared import once, squared
from ntkjax._kernel.engine import by_numbers


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def _images(count, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal((count, 4, 4, 2)))


def _network(w, b, slope=0.1, conv=False):
    """A residual block between two linear layers, of positions or of none."""
    first = stax.Conv(1, (3, 3), (1, 1), "SAME", w, b) if conv else stax.Dense(1, w, b)
    branch = stax.serial(stax.LeakyRelu(slope), stax.Dense(1, w, b))
    block = stax.serial(stax.FanOut(2), stax.parallel(branch, stax.Identity()), stax.FanInSum())
    parts = [first, block, stax.Relu()]
    return stax.serial(*([*parts, stax.Flatten()] if conv else [stax.Flatten(), *parts]))


def _loss(get="ntk", others=None, conv=False):
    def loss(*numbers):
        made = _network(*numbers, conv=conv)[2](_images(3), others, get)
        return jnp.sum(jnp.sin(made))

    return loss


NUMBERS = (1.3, 0.2, 0.3)


def _differences(loss, numbers, step=1e-5):
    def along(i):
        moved = [[x + sign * step * (i == k) for k, x in enumerate(numbers)] for sign in (1, -1)]
        return (loss(*moved[0]) - loss(*moved[1])) / (2 * step)

    return [along(i) for i in range(len(numbers))]


@pytest.fixture
def no_way_back(monkeypatch):
    def fail(*_):
        raise AssertionError("the way back was taken")

    monkeypatch.setattr(by_numbers, "_plain_jvp", fail)


@pytest.mark.parametrize(("get", "count"), [("ntk", 1), ("nngp", 2), ("ntk", 3)])
def test_few_numbers_go_along(no_way_back, get, count):
    loss = _loss(get, None if count == 1 else _images(2, 1), conv=count == 2)
    few = lambda *some: loss(*some, *NUMBERS[count:])  # noqa: E731
    some, which = NUMBERS[:count], range(count)
    expected = _differences(few, some)
    for derivative in (jax.grad(few, which), jax.jit(jax.jacfwd(few, which))):
        np.testing.assert_allclose(derivative(*some), expected, rtol=1e-7)


def test_a_kernel_with_all_its_fields(no_way_back):
    def of(w):
        return _network(w, 0.1)[2](_images(3))

    kernel, change = jax.jvp(of, (1.3,), (1.0,))
    ahead, behind = of(1.3 + 1e-5), of(1.3 - 1e-5)
    for name in ("nngp", "ntk", "cov1"):
        expected = (getattr(ahead, name) - getattr(behind, name)) / 2e-5
        np.testing.assert_allclose(getattr(change, name), expected, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(kernel.ntk, of(1.3).ntk, rtol=1e-12)


def test_many_numbers_and_inputs_go_back(monkeypatch):
    taken = []
    plain = by_numbers._plain_jvp
    monkeypatch.setattr(by_numbers, "_plain_jvp", lambda *a: taken.append(1) or plain(*a))

    def by_layer(numbers):
        layers = [stax.Dense(1, w, 0.1) for w in numbers]
        network = stax.serial(stax.Flatten(), *[part for d in layers for part in (d, stax.Relu())])
        return jnp.sum(jnp.sin(network[2](_images(3), None, "ntk")))

    numbers = jnp.asarray([1.1, 1.2, 1.3, 1.4])
    expected = _differences(lambda *some: by_layer(some), list(numbers))
    np.testing.assert_allclose(jax.grad(by_layer)(numbers), expected, rtol=1e-7)

    def by_both(w, x):
        return jnp.sum(jnp.sin(_network(w, 0.1)[2](x, None, "ntk")))

    by_w, by_x = jax.grad(by_both, (0, 1))(1.3, _images(3))
    np.testing.assert_allclose(by_w, _differences(lambda w: by_both(w, _images(3)), [1.3])[0], 1e-7)
    np.testing.assert_allclose(by_x, jax.grad(by_both, 1)(1.3, _images(3)), rtol=1e-9, atol=1e-12)
    assert len(taken) == 3


@pytest.mark.parametrize("second", [jax.hessian, lambda f, i: jax.jacrev(jax.grad(f, i), i)])
def test_second_derivatives(second):
    loss = lambda w, b: _loss()(w, b)  # noqa: E731
    found = second(loss, (0, 1))(1.3, 0.2)
    for i in (0, 1):
        slope = jax.grad(loss, i)
        np.testing.assert_allclose(found[i], _differences(slope, [1.3, 0.2]), rtol=1e-6)


def test_numbers_that_functions_of_a_network_hold(no_way_back):
    def loss(slope):
        layer = stax.Elementwise(None, lambda k, v1, v2: slope**2 * k)
        network = stax.serial(stax.Flatten(), stax.Dense(1, slope, 0.2), layer)
        return jnp.sum(jnp.sin(network[2](_images(3), None, "nngp")))

    np.testing.assert_allclose(jax.jit(jax.grad(loss))(0.3), _differences(loss, [0.3])[0], 1e-7)


def test_many_values_at_once(no_way_back):
    values = jnp.asarray([1.1, 1.2, 1.5])
    slope = jax.grad(lambda w: _loss()(w, 0.1))
    np.testing.assert_allclose(jax.vmap(slope)(values), [slope(w) for w in values], rtol=1e-10)


def test_one_number_of_several_layers_stays_one():
    def of(w):
        assert squared(w) is squared(w)
        return squared(w)

    assert jax.grad(of)(3.0) == 6
    assert squared(3.0) == 9


def test_what_a_trace_has_made_is_not_handed_to_another():
    kept = []

    @once
    def doubled(number):
        kept.append(2 * number)
        return kept[-1]

    def of(w):
        inside = jax.jit(lambda: doubled(w))()
        return inside + doubled(w)

    assert jax.grad(of)(1.0) == 4
    assert len(kept) == 2
