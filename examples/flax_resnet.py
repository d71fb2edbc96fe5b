"""Empirical kernels of a residual network in flax, and what they predict.

    pip install flax
    python examples/flax_resnet.py --width 32

Any function of parameters and inputs has empirical kernels, so also `model.apply` of flax. A small
residual network at random weights is asked for its NTK between images of digits; regression with it
says what training the network would, as long as it stays near its start. As the network gets wider,
kernels of two draws of its weights become more and more alike.

Source: Novak et al. 2022, arXiv 2206.08720.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn  # pyright: ignore[reportMissingImports] # an extra

import ntkjax
from datasets import load
from kernels import standardized
from options import positive, small_parser
from plots import new_panels, save, set_sizes
from regression import accuracy_of, one_hot
from report import say
from splits import subset

CLASSES = 10


class Block(nn.Module):
    """Two normalised convolutions beside a skip connection."""

    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        strides = (self.stride, self.stride)
        y = nn.relu(nn.GroupNorm(num_groups=2)(x))
        skip = x if self.stride == 1 else nn.Conv(self.channels, (1, 1), strides)(y)
        y = nn.Conv(self.channels, (3, 3), strides)(y)
        y = nn.relu(nn.GroupNorm(num_groups=2)(y))
        return skip + nn.Conv(self.channels, (3, 3))(y)


class ResNet(nn.Module):
    """A convolution, three blocks of which two halve the image, and a readout."""

    width: int

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (3, 3))(x)
        for factor in (1, 2, 4):
            x = Block(factor * self.width, 1 if factor == 1 else 2)(x)
        return nn.Dense(CLASSES)(nn.relu(x).mean((1, 2)))


def even(text: str) -> int:
    """A number of channels, which the norms take in two groups."""
    if positive(text) % 2:
        raise argparse.ArgumentTypeError(
            f"{text} is odd, and channels are normalised in two groups: pass an even number"
        )
    return int(text)


def digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    data = load()
    chosen = subset(data.labels, count, seed)
    return standardized(data.images[chosen]).astype(np.float32), data.labels[chosen]


def kernels(width: int, images: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
    """The NTK of a network for each seed, (seed, n, n): the mean over the outputs."""
    model = ResNet(width)
    # Examples meet nowhere in this network, since its norms are those of an image.
    ntk_fn: Any = jax.jit(ntkjax.empirical_ntk_fn(model.apply, vmap_axes=0))
    params = [model.init(jax.random.key(seed), images[:1]) for seed in seeds]
    return np.stack([np.asarray(ntk_fn(images, None, p)) for p in params])


def accuracy(kernel: np.ndarray, labels: np.ndarray, train: int) -> float:
    """Of regression on the first `train` images, on the others."""
    inner, cross = kernel[:train, :train], kernel[train:, :train]
    reg = 1e-3 * float(np.mean(np.diag(inner)))
    scores = ntkjax.ntk_predict(inner, cross, one_hot(labels[:train], CLASSES), reg=reg)
    return accuracy_of(np.asarray(scores), labels[train:])


def main(arguments: Sequence[str] | None = None) -> tuple[list[float], list[float]]:
    parser = small_parser("flax_resnet.py", __doc__)
    parser.add_argument(
        "--width", help="the widest one, even (default: %(default)s)", type=even, default=16,
        metavar="N",
    )  # fmt: skip
    parser.add_argument("--train", type=positive, default=100, metavar="N")
    parser.add_argument("--test", type=positive, default=50, metavar="N")
    options = parser.parse_args(arguments)
    images, labels = digits(options.train + options.test, options.seed)
    widths = sorted({max(options.width // n // 2 * 2, 2) for n in (4, 2, 1)})
    distances, scores, last = [], [], None
    for width in widths:
        one, other = last = kernels(width, images, (options.seed, options.seed + 1))
        distances.append(float(np.linalg.norm(one - other) / np.linalg.norm(one)))
        scores.append(accuracy(one, labels, options.train))
        say(f"width {width:>4}: {scores[-1]:.1%} of test digits, draws {distances[-1]:.3f} apart")
    order = np.argsort(labels, kind="stable")
    names = [f"NTK of width {widths[-1]}, by digit", "distance of two draws", "test accuracy"]
    figure, panels = new_panels("A residual network of flax at random weights", names)
    assert last is not None
    panels[0].imshow(last[0][np.ix_(order, order)], cmap="viridis")
    panels[1].loglog(widths, distances, marker="o", color="#d55e00")
    panels[2].plot(widths, scores, marker="o", color="#0072b2")
    for axes in panels[1:]:
        set_sizes(axes, widths)
        axes.set_xlabel("width", fontsize=9)
    save(figure, options.out / "flax_resnet.png")
    return distances, scores


if __name__ == "__main__":
    main()
