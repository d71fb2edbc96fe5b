"""The transformer of the examples: it reads, and padding says nothing."""

import numpy as np

import transformer
from tests.helpers import fast_jit


def test_tokens_are_padded_behind():
    made = transformer.tokens([["film", "is"], ["the"]], 3)[..., 0]
    assert made.tolist() == [[1, 2, -1], [0, -1, -1]]


def test_new_texts_are_understood():
    assert transformer.accuracy(60, 40) > 0.75


def test_padding_says_nothing():
    some, _ = transformer.texts(4, 0)
    network = transformer.transformer()

    def kernel(x):
        return fast_jit(lambda x: network.kernel_fn(x, None, "ntk", mask_constant=-1))(x)

    np.testing.assert_allclose(
        kernel(transformer.tokens(some, 8)), kernel(transformer.tokens(some, 11)), rtol=1e-5
    )
