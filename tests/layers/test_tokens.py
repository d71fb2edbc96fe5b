"""Embeddings of tokens: what is equal, what is unknown, in the kernel and in finite networks."""

import jax
import numpy as np
import pytest

from ntkjax.stax import Dense, Embedding, Flatten, GlobalAvgPool, Relu, serial
from tests.helpers import fast_jit

TOKENS = np.array([[3, 0, -1, 2], [0, 7, 2, 2], [3, 1_000_000, 3, 0]])[..., None]


def table_of(count):
    """Which pairs of tokens are one of the vocabulary."""
    a, b = TOKENS[:, None, :, None, 0], TOKENS[None, :, None, :, 0]
    return (a == b) & (a >= 0) & (a < count)


@pytest.mark.parametrize("dtype", [int, np.float32, np.float64])
def test_equal_tokens_have_the_variance_of_the_table(dtype):
    kernel = fast_jit(Embedding(8, 1, 1.5).kernel_fn)(TOKENS.astype(dtype))
    wanted = 1.5**2 * table_of(8)
    np.testing.assert_array_equal(kernel.nngp, wanted)
    np.testing.assert_array_equal(kernel.ntk, wanted)


def test_large_vocabularies_are_told_apart_in_float32():
    kernel = fast_jit(Embedding(2_000_000, 1).kernel_fn)(
        np.float32([[[999_999]], [[1_000_000]], [[1_000_001]]])
    )
    np.testing.assert_array_equal(kernel.nngp[:, :, 0, 0], np.eye(3))


def test_unknown_tokens_are_zero_in_finite_networks():
    embedding = Embedding(8, 5, 1.5)
    shape, table = embedding.init_fn(jax.random.key(0), TOKENS.shape)
    made = embedding.apply_fn(table, TOKENS)
    assert made.shape == shape == (3, 4, 5)
    known = (TOKENS >= 0) & (TOKENS < 8)
    wanted = np.where(known, 1.5 * np.asarray(table)[np.where(known, TOKENS, 0)[..., 0]], 0.0)
    np.testing.assert_allclose(made, wanted, rtol=1e-12)


def test_a_network_on_tokens():
    """A bag of words under a nonlinearity, whose kernel is that of counts of words."""
    counts = np.stack([(TOKENS[..., 0] == word).sum(1) for word in range(8)], 1) / 4
    bag = serial(Embedding(8, 1), GlobalAvgPool(), Dense(1), Relu())
    same = serial(Dense(1), Relu())
    made = fast_jit(lambda x: bag.kernel_fn(x, None, "nngp"))(TOKENS)
    wanted = fast_jit(lambda x: same.kernel_fn(x, None, "nngp"))(counts * 8**0.5)
    np.testing.assert_allclose(made, wanted, rtol=1e-12, atol=1e-15)


def test_tokens_are_the_input_of_a_network():
    with pytest.raises(ValueError, match="make it the first layer"):
        serial(Dense(1), Embedding(8, 1)).kernel_fn(TOKENS)
    with pytest.raises(ValueError, match="make it the first layer"):
        Embedding(8, 1).kernel_fn(Flatten().kernel_fn(TOKENS))
    for call in (Embedding(8, 1).kernel_fn, lambda x: Embedding(8, 1).apply_fn(np.ones((8, 1)), x)):
        with pytest.raises(ValueError, match="one channel"):
            call(TOKENS[..., 0])
