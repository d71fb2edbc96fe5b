"""Recurrent layers: what they need, in which numbers, and what they refuse."""

import jax
import numpy as np
import pytest

from ntkjax import stax
from ntkjax.stax import Dense, Erf, Gelu, GlobalAvgPool, Recurrent, Relu, serial
from tests.contract import twins, twins_sequences
from tests.contract.expectations import error_function, gaussian_error_linear, rectifier
from tests.contract.laws import agrees
from tests.helpers import fast_jit

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(3, 5, 2)), RNG.normal(size=(2, 5, 2))


def diagonals(network, times=8):
    return [stage.diagonals for stage in network.kernel_fn.plan((3, times, 2)).stages]


def test_last_states_need_equal_times_alone():
    last = Recurrent(4, Relu())
    states = Recurrent(4, Relu(), return_sequences=True)
    assert diagonals(serial(last, Dense(1))) == [1]
    assert diagonals(serial(states, states, last, Dense(1))) == [1]
    assert diagonals(serial(states, Recurrent(4, Erf(), bidirectional=True), Dense(1))) == [1]
    assert diagonals(serial(states, stax.Flatten())) == [1]
    assert diagonals(serial(states, GlobalAvgPool(), Dense(1)))[0] == 8


def test_layers_stack():
    """Onto and below layers of other kinds, against NumPy."""
    numbers = (1.2, 0.9, 0.3, 0.4)
    one = Recurrent(4, Gelu(), *numbers, return_sequences=True)
    two = Recurrent(4, Relu(), *numbers, bidirectional=True)
    network = serial(stax.Conv(4, (2,)), one, Dense(4), two, Dense(4), Erf())
    recurrent = twins_sequences.recurrent
    twin = twins.serial(
        twins.conv((2,)), recurrent(gaussian_error_linear(), *numbers, return_sequences=True),
        twins.dense(), recurrent(rectifier(0.0, 1.0), *numbers, bidirectional=True),
        twins.dense(), twins.activation(error_function()),
    )  # fmt: skip
    kernel = fast_jit(network.kernel_fn)(X1, X2)
    agrees([kernel], [twin(twins.inputs(X1, X2, 4))], 1e-11)


@pytest.mark.parametrize("activation", [Relu, Erf])
def test_near_equal_sequences_keep_their_digits(activation):
    """Twenty steps of float32, of sequences that are 1e-3 apart."""
    x = RNG.normal(size=(1, 20, 4))
    x = np.float32(x + 1e-3 * RNG.normal(size=(4, 20, 4)))
    network = Recurrent(1, activation(), 1.0, 1.0, 0.1)
    kernel_fn = fast_jit(lambda x: network.kernel_fn(x, None, ("nngp", "ntk")))
    for single, exact in zip(kernel_fn(x), kernel_fn(np.float64(x)), strict=True):
        np.testing.assert_allclose(single, np.float32(exact), rtol=1e-5)


@pytest.mark.parametrize("activation", [Relu, Erf])
def test_sequences_of_very_different_sizes_are_finite(activation):
    x = np.float32(X1 * np.array([1e-20, 1.0, 1e15])[:, None, None])
    made = fast_jit(Recurrent(1, activation(), b_std=0.1).kernel_fn)(x)
    for array in (made.nngp, made.ntk, made.distance):
        assert not np.any(np.isnan(array))


def test_a_finite_network_is_its_loop():
    network = Recurrent(3, Erf(), 1.2, 0.9, 0.3, 0.4)
    shape, params = network.init_fn(jax.random.key(0), X1.shape)
    ((weights, of_state, bias, start),) = (tuple(map(np.asarray, one)) for one in params)
    state = 0.4 * start
    for t in range(5):
        given = 1.2 / np.sqrt(2) * X1[:, t] @ weights + 0.9 / np.sqrt(3) * state @ of_state
        state = np.asarray(jax.scipy.special.erf(given + 0.3 * bias))
    made = network.apply_fn(params, X1)
    assert made.shape == shape == (3, 3)
    np.testing.assert_allclose(made, state, rtol=1e-12)


def test_a_way_back_is_the_way_of_the_reversed_sequence():
    both = Recurrent(3, Erf(), return_sequences=True, bidirectional=True)
    shape, params = both.init_fn(jax.random.key(0), X1.shape)
    made = both.apply_fn(params, X1)
    one = Recurrent(3, Erf(), return_sequences=True)
    assert made.shape == shape == (3, 5, 6)
    np.testing.assert_allclose(made[..., :3], one.apply_fn(params[:1], X1), rtol=1e-12)
    back = one.apply_fn(params[1:], X1[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(made[..., 3:], back, rtol=1e-12)


@pytest.mark.parametrize("activation", [Relu, Dense(3), "erf", serial(Relu(), Dense(1))])
def test_an_activation_is_a_nonlinearity(activation):
    with pytest.raises(TypeError, match=r"Recurrent: activation=.*mind to call it"):
        Recurrent(3, activation)


def test_inputs_are_sequences():
    network = Recurrent(3, Relu())
    for call in (network.kernel_fn, lambda x: network.init_fn(jax.random.key(0), x.shape)):
        with pytest.raises(ValueError, match="batch, time, channels"):
            call(X1[:, 0])


@pytest.mark.parametrize(("activation", "power", "get"), [(Gelu(), 1, "ntk"), (Erf(), 0, "nngp")])
def test_large_sequences_are_as_their_activation_grows(activation, power, get):
    """Beyond the cut of 5e7 in float32: Gelu is a rectifier there, and Erf a sign."""
    x = np.float32(np.random.default_rng(0).normal(size=(3, 4, 2)))
    kernel_fn = serial(Recurrent(8, activation), Dense(1)).kernel_fn
    large, huge = (np.asarray(kernel_fn(np.float32(s) * x, None, get)) for s in (1e6, 1e12))
    np.testing.assert_allclose(huge, 1e12**power * large, rtol=2e-5)
