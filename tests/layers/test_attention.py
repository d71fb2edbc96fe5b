"""Attention: all arguments against NumPy, embeddings of finite networks, scales, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from ntkjax._layers.positions import correlated
from ntkjax.stax import AttentionMechanism, Dense, GlobalSelfAttention, PositionalEmbedding, serial
from tests.contract import twins, twins_sequences
from tests.contract.expectations import rectifier
from tests.contract.laws import agrees
from tests.helpers import fast_jit

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(3, 2, 3, 2)), RNG.normal(size=(2, 2, 3, 2))
STDS = {"W_key_std": 0.9, "W_query_std": 1.2, "W_value_std": 0.8, "W_out_std": 1.5}
OF_TWIN = {"score_std": 0.9 * 1.2, "value_std": 0.8 * 1.5}
RELU = twins.activation(rectifier(0.0, 1.0))

#: Arguments of the layer, and those of its twin that say the same.
ARGUMENTS = {
    "sum": (
        {"pos_emb_type": "SUM", "W_pos_emb_std": 0.7, "b_std": 0.3},
        {"kind": "SUM", "pos_std": 0.7, "b_std": 0.3},
    ),
    "sum, decay, in values": (
        {"attention_mechanism": "RELU", "pos_emb_type": PositionalEmbedding.SUM,
         "pos_emb_decay_fn": lambda d: jnp.exp(-d), "pos_emb_p_norm": 1, "val_pos_emb": True},
        {"mechanism": "RELU", "kind": "SUM", "decay": lambda d: np.exp(-d), "norm": 1,
         "in_values": True},
    ),
    "concatenated, in values": (
        {"attention_mechanism": AttentionMechanism.ABS, "pos_emb_type": "CONCAT",
         "n_chan_pos_emb": 5, "W_pos_emb_std": 0.7, "val_pos_emb": True},
        {"mechanism": "ABS", "kind": "CONCAT", "pos_channels": 5, "pos_std": 0.7,
         "in_values": True},
    ),
    "scaled by the root, concatenated": (
        {"linear_scaling": False, "attention_mechanism": "identity", "pos_emb_type": "CONCAT",
         "pos_emb_decay_fn": lambda d: 1 / (1 + d), "b_std": 0.3},
        {"linear_scaling": False, "mechanism": "IDENTITY", "kind": "CONCAT",
         "decay": lambda d: 1 / (1 + d), "b_std": 0.3},
    ),
    "scaled by the root, sum, in values": (
        {"linear_scaling": False, "attention_mechanism": "IDENTITY", "pos_emb_type": "SUM",
         "W_pos_emb_std": 1.3, "val_pos_emb": True},
        {"linear_scaling": False, "mechanism": "IDENTITY", "kind": "SUM", "pos_std": 1.3,
         "in_values": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ARGUMENTS))
def test_arguments_against_numpy(name):
    """On the input, where tangents begin, and between nonlinearities, where distances are held."""
    arguments, of_twin = ARGUMENTS[name]
    attention = GlobalSelfAttention(4, 4, 4, 2, **STDS, **arguments)
    twin = twins_sequences.attention(**OF_TWIN, **of_twin)
    deep = serial(attention, stax.Relu(), Dense(4), stax.Relu(), attention, stax.Relu())
    dense = twins.serial(twins.dense(), RELU)
    twin_of_deep = twins.serial(twin, RELU, dense, twin, RELU)
    made = fast_jit(lambda x1, x2: (attention.kernel_fn(x1, x2), deep.kernel_fn(x1, x2)))(X1, X2)
    for kernel, of_numpy in zip(made, (twin, twin_of_deep), strict=True):
        agrees([kernel], [of_numpy(twins.inputs(X1, X2, 4))], 1e-12)


# ---- finite networks


def outputs(params, x, **arguments):
    arguments = {"n_chan_out": 4, "n_chan_key": 3, "n_chan_val": 3, "n_heads": 2} | arguments
    return GlobalSelfAttention(**STDS, **arguments).apply_fn(params, x)


@pytest.mark.parametrize("in_values", [False, True])
@pytest.mark.parametrize("kind", ["SUM", "CONCAT"])
def test_embeddings_are_added_to_the_input(kind, in_values):
    embedded = {"pos_emb_type": kind, "W_pos_emb_std": 0.7, "val_pos_emb": in_values}
    network = GlobalSelfAttention(4, 3, 3, 2, **embedded)
    _, params = network.init_fn(jax.random.key(0), X1.shape)
    *weights, vectors = params
    vectors = np.broadcast_to(0.7 * np.asarray(vectors), X1.shape)
    together = X1 + vectors if kind == "SUM" else np.concatenate([X1, vectors], -1)
    actual = outputs(params, X1, **embedded)
    if in_values:
        wanted = outputs((*weights, None), together)
        np.testing.assert_allclose(actual, wanted, rtol=1e-12, atol=1e-12)
        return
    # Values that do not see the embeddings: weights of zero for what embeddings would add.
    _, keys, values, out, _, _ = params
    x, seen = X1.reshape(3, 6, 2), together.reshape(3, 6, -1)
    wanted = 0
    for head in range(2):
        product = seen @ np.asarray(keys[head])
        scores = 0.9 * 1.2 * product @ product.swapaxes(1, 2) / (seen.shape[-1] * 3)
        of_head = twins_sequences.softmax(scores) @ x @ np.asarray(values[head])
        wanted = wanted + of_head @ np.asarray(out[head::2])
    wanted = 0.8 * 1.5 * wanted / np.sqrt(6 * 2)
    np.testing.assert_allclose(actual, wanted.reshape(actual.shape), rtol=1e-12, atol=1e-12)


def test_embeddings_have_the_covariance_of_the_decay():
    decay = lambda d: jnp.exp(-d)  # noqa: E731
    noise = RNG.normal(size=(6, 100_000))
    vectors = correlated("layer", jnp.asarray(noise), (2, 3), 2.0, decay)
    actual = vectors @ vectors.T / 100_000
    wanted = twins_sequences.embeddings((2, 3), 2, lambda d: np.exp(-d))
    np.testing.assert_allclose(actual, wanted, atol=0.02)


# ---- numbers


def test_images_of_any_size_keep_their_digits():
    """Weights see the true scale, and no number overflows on the way to a kernel in range."""
    network = serial(GlobalSelfAttention(1, 1, 1, 1), Dense(1), stax.Relu(), stax.Flatten())
    x = RNG.normal(size=(4, 3, 2)) * np.array([1e-3, 1.0, 30.0, 1e15])[:, None, None]
    exact = fast_jit(lambda x: network.kernel_fn(x, None, ("nngp", "ntk")))(x)
    single = fast_jit(lambda x: network.kernel_fn(x, None, ("nngp", "ntk")))(np.float32(x))
    for actual, wanted in zip(map(np.float64, single), map(np.float64, exact), strict=True):
        size = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
        np.testing.assert_allclose(actual / size, wanted / size, atol=1e-5)


@pytest.mark.parametrize("linear_scaling", [True, False])
def test_products_of_any_size_keep_their_digits(linear_scaling):
    """Kernels grow as the third power of the input's."""
    attention = GlobalSelfAttention(
        1, 1, 1, 1, linear_scaling, b_std=0.1, attention_mechanism="IDENTITY", pos_emb_type="SUM"
    )
    network = serial(attention, stax.Relu(), Dense(1), stax.Flatten())
    x = RNG.normal(size=(4, 3, 2)) * np.array([1e-6, 1.0, 1e2, 1e5])[:, None, None]
    kernel_fn = fast_jit(lambda x: network.kernel_fn(x, None, ("nngp", "ntk")))
    single, exact = kernel_fn(np.float32(x)), kernel_fn(x)
    for actual, wanted in zip(map(np.float64, single), map(np.float64, exact), strict=True):
        size = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
        np.testing.assert_allclose(actual / size, wanted / size, atol=1e-5)
    far = kernel_fn(np.float32(1e20 * X1[:, 0]))
    assert not any(np.any(np.isnan(array)) for array in far)


def test_a_decay_may_depend_on_a_traced_number():
    def value(length):
        decay = lambda d: jnp.exp(-d / length)  # noqa: E731
        attention = GlobalSelfAttention(1, 1, 1, 1, pos_emb_type="SUM", pos_emb_decay_fn=decay)
        return jnp.sum(serial(attention, stax.Flatten()).kernel_fn(X1[:, 0], None, "nngp"))

    slope = jax.jit(jax.grad(value))(2.0)
    secant = (value(2.0 + 1e-5) - value(2.0 - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope, secant, rtol=1e-6)


# ---- masks

LONG = RNG.normal(size=(3, 6, 2))
MASKED = np.where(np.arange(6)[None, :, None] < 4, LONG, np.nan)
VARIANTS = {
    "softmax": {"pos_emb_type": "SUM", "pos_emb_decay_fn": lambda d: jnp.exp(-d)},
    "values": {"pos_emb_type": "CONCAT", "val_pos_emb": True, "attention_mechanism": "ABS"},
    "root": {"linear_scaling": False, "attention_mechanism": "IDENTITY", "pos_emb_type": "SUM"},
}


@pytest.mark.parametrize("name", list(VARIANTS))
def test_masked_positions_might_as_well_not_be_there(name):
    """Padded sequences have the kernel of the sequences, in infinite and in finite networks."""
    attention = GlobalSelfAttention(4, 3, 3, 2, b_std=0.3, **STDS, **VARIANTS[name])
    network = serial(attention, stax.Relu(), stax.GlobalAvgPool(), Dense(1))
    padded = fast_jit(lambda x: network.kernel_fn(x, None, mask_constant=np.nan))(MASKED)
    short = fast_jit(network.kernel_fn)(LONG[:, :4])
    for field in ("nngp", "ntk"):
        actual, wanted = getattr(padded, field), getattr(short, field)
        np.testing.assert_allclose(actual, wanted, rtol=1e-11, atol=1e-12)
    _, params = network.init_fn(jax.random.key(0), LONG.shape)
    if name == "softmax":
        return  # the embeddings of more positions are others, of the same covariance
    made = network.apply_fn(params, MASKED, mask_constant=np.nan).masked_value
    (*weights, vectors), *rest = params
    cut = [(*weights, vectors[:, :4]), *rest]
    np.testing.assert_allclose(made, network.apply_fn(cut, LONG[:, :4]), rtol=1e-11)


@pytest.mark.parametrize("name", list(VARIANTS))
def test_an_image_may_be_masked_as_a_whole(name):
    attention = GlobalSelfAttention(4, 3, 3, 2, **VARIANTS[name])
    x = np.where(np.arange(3)[:, None, None] == 1, 7.0, LONG)

    def total(x):
        kernel = attention.kernel_fn(x, None, ("nngp", "ntk"), mask_constant=7.0)
        return jnp.sum(kernel.nngp) + jnp.sum(kernel.ntk), kernel

    gradient, kernel = fast_jit(jax.grad(total, has_aux=True))(x)
    assert np.all(np.isfinite(gradient))
    for array in kernel:
        assert np.all(np.isfinite(array))
        assert not np.any(array[1])
        assert np.all(np.diagonal(array[0, 0]) > 0)
    _, params = attention.init_fn(jax.random.key(0), x.shape)
    made = stax.unmask_fn(attention.apply_fn)(params, x, mask_constant=7.0)
    assert np.all(np.isfinite(made))
    assert not np.any(made[1])


# ---- refusals


@pytest.mark.parametrize("mechanism", ["SOFTMAX", "ABS", "RELU"])
def test_there_is_no_closed_form_of_random_scores(mechanism):
    attention = GlobalSelfAttention(1, 1, 1, 1, False, attention_mechanism=mechanism)
    with pytest.raises(NotImplementedError, match="linear_scaling=True"):
        attention.kernel_fn(X1)
    shape, params = attention.init_fn(jax.random.key(0), X1.shape)
    assert attention.apply_fn(params, X1).shape == shape == (3, 2, 3, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention_mechanism": "MAX"}, "attention_mechanism='MAX' is unknown"),
        ({"pos_emb_type": 3}, "pos_emb_type=3 is unknown"),
        ({"pos_emb_p_norm": 0}, "expected a positive number"),
        ({"n_heads": 0}, "n_heads=0, expected a positive integer"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        GlobalSelfAttention(**({"n_chan_out": 1, "n_chan_key": 1, "n_chan_val": 1, "n_heads": 1}
                               | arguments))  # fmt: skip


def test_embeddings_that_cannot_be():
    make = lambda **options: GlobalSelfAttention(1, 1, 1, 1, pos_emb_type="SUM", **options)  # noqa: E731
    with pytest.raises(TypeError, match="expected a function"):
        make(pos_emb_decay_fn=2.0)
    for call in (lambda n: n.kernel_fn(X1), lambda n: n.init_fn(jax.random.key(0), X1.shape)):
        with pytest.raises(ValueError, match="input of 2 channels; leave n_chan_pos_emb out"):
            call(make(n_chan_pos_emb=3))
    with pytest.raises(ValueError, match="array of that shape"):
        make(pos_emb_decay_fn=lambda d: 1.0).kernel_fn(X1)
    with pytest.raises(ValueError, match="not finite"):
        make(pos_emb_decay_fn=lambda d: 1 / d).kernel_fn(X1)
    network = make(pos_emb_decay_fn=lambda d: d)
    _, params = network.init_fn(jax.random.key(0), X1.shape)
    with pytest.raises(ValueError, match="gives no covariance"):
        network.apply_fn(params, X1)
    with pytest.raises(ValueError, match="were drawn for"):
        network.apply_fn(params, X1[:, :1])
