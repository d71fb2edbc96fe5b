"""An infinitely wide transformer reads short texts of different lengths.

    python examples/transformer.py

A text is three to eight words, some of which judge: "the film is great really dull bad". It says
what most of them do. Words become tokens, and shorter texts are padded with tokens that are masked.
Ridge regression with the tangent kernel of a transformer encoder learns from examples what words
mean.
"""

from typing import Any

import numpy as np

from ntkjax import stax

PADDING = -1
FILLERS = ("the", "film", "is", "really", "a", "thing")
JUDGEMENTS = {"good": 1, "great": 1, "fine": 1, "bad": -1, "dull": -1, "poor": -1}
WORDS = (*FILLERS, *JUDGEMENTS)


def texts(count: int, seed: int) -> tuple[list[list[str]], np.ndarray]:
    """Random texts of three to eight words, and what each says, 1 or -1."""
    rng = np.random.default_rng(seed)
    made, labels = [], []
    while len(made) < count:
        words = list(map(str, rng.choice(WORDS, rng.integers(3, 9))))
        total = sum(JUDGEMENTS.get(word, 0) for word in words)
        if total:  # a text that says neither is none
            made.append(words)
            labels.append(np.sign(total))
    return made, np.array(labels, float)


def tokens(some: list[list[str]], length: int = 8) -> np.ndarray:
    """Numbers of the words, (text, time, 1), with padding behind."""
    made = np.full((len(some), length, 1), PADDING, np.float32)
    for text, words in zip(made, some, strict=True):
        text[: len(words), 0] = [WORDS.index(word) for word in words]
    return made


def residual(*layers: Any) -> Any:
    """Layers beside a skip connection."""
    both = stax.parallel(stax.serial(*layers), stax.Identity())
    return stax.serial(stax.FanOut(2), both, stax.FanInSum())


def transformer(blocks: int = 1, width: int = 64) -> Any:
    """An encoder with layer normalisation before each part, and the mean over its outputs."""
    attention = stax.GlobalSelfAttention(
        width, width, width, n_heads=4, W_key_std=2.0, W_query_std=2.0
    )
    parts = [
        residual(stax.LayerNorm(), attention),
        residual(stax.LayerNorm(), stax.Dense(width), stax.Relu(), stax.Dense(width)),
    ]
    embedded = [stax.Embedding(len(WORDS), width), stax.PositionalEncoding(W_std=0.3)]
    return stax.serial(*embedded, *parts * blocks, stax.GlobalAvgPool(), stax.Dense(1))


def accuracy(train: int = 150, test: int = 100, ridge: float = 1e-3) -> float:
    """The part of new texts that are understood, by the tangent kernel of the transformer."""
    (known, labels), (new, truth) = texts(train, 0), texts(test, 1)
    x = tokens(known + new)
    kernel = transformer().kernel_fn(x, None, "ntk", mask_constant=PADDING)
    kernel = np.asarray(kernel, np.float64)
    inner = kernel[:train, :train] + ridge * np.trace(kernel) / len(kernel) * np.eye(train)
    said = kernel[train:, :train] @ np.linalg.solve(inner, labels)
    return float(np.mean(np.sign(said) == truth))


if __name__ == "__main__":
    print(f"{accuracy():.0%} of new texts are understood")
