"""Missing pixels of an image, filled in by tangent kernels between positions.

    python examples/complete.py

A network is trained to output the known pixels of one image, and what it says of the others
completes the image. Of an infinitely wide network this is kernel regression between positions: with
f[p] the output at position p, and K[p, q] the tangent kernel of f[p] and f[q],

    f[missing] = K[missing, known] K[known, known]^-1 image[known].

Such a kernel depends on the architecture alone: one serves for all masks, images and colours. Two
networks are taken. A convolutional one reads an image of noise, halves its resolution some times
and doubles it as often; convolutions alone would not do, for what noise says of two pixels is the
same for all pairs. As in the paper its image is a torus, whose edges see the opposite ones. A fully
connected one reads a position, two coordinates. How often the first halves and how deep the second
is are chosen by leaving out each known pixel. Beside them, interpolation of SciPy between the
nearest known pixels.

Source: Radhakrishnan et al. 2022, PNAS 119(16), arXiv 2108.00131.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure
from scipy.interpolate import griddata
from sklearn.datasets import load_sample_image

import ntkjax
from ntkjax import stax
from options import positive, shrunk, small_parser
from plots import INK, save
from report import progress, say

CONVOLUTIONAL, POSITIONS = "convolutional NTK", "NTK of positions"
LINEAR, NEAREST, MEAN = "linear", "nearest", "mean"
HOWS = (MEAN, NEAREST, LINEAR, POSITIONS, CONVOLUTIONAL)
DEPTHS = (1, 2, 3)
#: In units of the mean of the diagonal of the kernel of known pixels, which have no noise.
RIDGE = 1e-5


def convolutional(side: int, scales: int) -> Any:
    """Halve the resolution `scales` times and double it as often, with convolutions on a torus."""

    def conv(stride: int = 1) -> Any:
        weights = stax.Conv(1, (3, 3), (stride, stride), "CIRCULAR", W_std=2**0.5)
        return stax.serial(weights, stax.Relu())

    up = [
        layer
        for scale in reversed(range(scales))
        for layer in (stax.ImageResize((-1, side >> scale, side >> scale, -1), "linear"), conv())
    ]
    return stax.serial(*[conv(2)] * scales, *up, stax.Conv(1, (3, 3), padding="CIRCULAR"))


def noise_kernel(side: int) -> Any:
    """The kernel of infinitely many channels of noise, drawn uniformly from [0, 1] at each pixel.

    E z[p] z[q] is 1/4 of two pixels, and 1/3 of one with itself.
    """
    eye = np.eye(side, dtype=np.float32)
    covariance = (0.25 + eye[:, :, None, None] * eye / 12)[None].astype(np.float32)
    start = stax.Identity().kernel_fn(np.zeros((1, side, side, 1), np.float32), None)
    return start.replace(nngp=covariance[None], cov1=covariance)


def kernel_of_noise(side: int, scales: int) -> np.ndarray:
    """The tangent kernel between all pixels, row by row: (side^2, side^2), float64."""
    kernel = convolutional(side, scales).kernel_fn(noise_kernel(side), None, "ntk")
    return np.asarray(kernel, np.float64)[0, 0].transpose(0, 2, 1, 3).reshape(2 * (side * side,))


def kernel_of_positions(side: int, depth: int) -> np.ndarray:
    """The tangent kernel between all positions, coordinates from -1 to 1, row by row, float64."""
    hidden = [stax.Dense(1, W_std=2**0.5, b_std=1.0), stax.Relu()] * depth
    line = np.linspace(-1, 1, side)
    positions = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    network = stax.serial(*hidden, stax.Dense(1, W_std=2**0.5, b_std=1.0))
    return np.asarray(network.kernel_fn(positions, None, "ntk"))


def completed(
    kernel: np.ndarray, image: np.ndarray, known: np.ndarray, ridge: float = RIDGE
) -> tuple[np.ndarray, float]:
    """The image (side, side, colours) with its pixels outside `known` (side, side) made anew.

    And the mean squared error at the known pixels, each predicted from all others.
    """
    inside, outside = np.flatnonzero(known), np.flatnonzero(~known)
    pixels = image.reshape(-1, image.shape[2]).copy()
    matrix = kernel[np.ix_(inside, inside)]
    shift = ridge * float(np.mean(np.diag(matrix)))
    inverse = np.linalg.inv(matrix + shift * np.eye(len(inside)))
    mean = pixels[inside].mean(axis=0)
    weights = inverse @ (pixels[inside] - mean)
    pixels[outside] = np.clip(mean + kernel[np.ix_(outside, inside)] @ weights, 0, 1)
    error = float(np.mean((weights / np.diag(inverse)[:, None]) ** 2))
    return pixels.reshape(image.shape), error


def interpolated(image: np.ndarray, known: np.ndarray, method: str) -> np.ndarray:
    """The image, its unknown pixels from the known ones around them."""
    points, missing = np.argwhere(known), np.argwhere(~known)
    filled = image.copy()
    if method == MEAN:
        filled[~known] = image[known].mean(axis=0)
        return filled
    nearest = griddata(points, image[known], missing, NEAREST)
    said = nearest if method == NEAREST else griddata(points, image[known], missing, method)
    # Beyond the outermost known pixels there is nothing to interpolate between.
    filled[~known] = np.where(np.isnan(said), nearest, said)
    return filled


def psnr(image: np.ndarray, other: np.ndarray, known: np.ndarray) -> float:
    """Peak signal-to-noise ratio at the pixels that were not known, in decibels."""
    return float(-10 * np.log10(np.mean((image[~known] - other[~known]) ** 2)))


def sample(name: str, side: int) -> np.ndarray:
    """The middle of a photograph, averaged down to side x side pixels, in [0, 1]."""
    photo = np.asarray(load_sample_image(name), np.float64) / 255
    height, width = photo.shape[:2]
    factor = min(height, width) // side
    if factor < 1:
        raise SystemExit(f"{name} has {height} x {width} pixels: lower --side")
    top, left = (height - side * factor) // 2, (width - side * factor) // 2
    cut = photo[top : top + side * factor, left : left + side * factor]
    return shrunk(cut[None], factor)[0]


def masks(side: int, missing: float, seed: int) -> dict[str, np.ndarray]:
    """Which pixels are known: a random share of them, and all but a square hole."""
    scattered = np.random.default_rng(seed).random((side, side)) >= missing
    hole = np.full((side, side), True)
    low, high = 3 * side // 8, 5 * side // 8
    hole[low:high, low:high] = False
    return {f"{100 * missing:g} % missing": scattered, "a hole": hole}


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    parser = small_parser("complete.py", __doc__)
    add = parser.add_argument
    add("--image", choices=("china.jpg", "flower.jpg"), default="china.jpg", help="of scikit-learn")
    add("--side", type=positive, default=48, metavar="N", help="pixels (default: %(default)s)")
    add("--missing", type=float, default=0.7, help="share of pixels (default: %(default)s)")
    add("--scales", type=positive, default=4, metavar="N", help="halve up to so often (default: 4)")
    options = parser.parse_args(arguments)
    if options.side % 2**options.scales or options.side == 2**options.scales:
        parser.error(
            f"--side {options.side} cannot be halved {options.scales} times and be 2 or more"
        )
    if not 0 < options.missing < 1:
        parser.error(f"--missing {options.missing:g} is no share between 0 and 1")
    # Regression is float64, the kernel of float32 noise float32.
    jax.config.update("jax_enable_x64", True)
    ntkjax.config.dtype = "inputs"
    image = sample(options.image, options.side)
    problems = masks(options.side, options.missing, options.seed)
    kernels = {
        POSITIONS: [(f"depth {depth}", kernel_of_positions, depth) for depth in DEPTHS],
        CONVOLUTIONAL: [
            (f"{scales} scales", kernel_of_noise, scales) for scales in range(1, options.scales + 1)
        ],
    }
    pictures = {name: {how: interpolated(image, known, how) for how in (MEAN, NEAREST, LINEAR)}
                for name, known in problems.items()}  # fmt: skip
    advance = progress(len(problems) * sum(map(len, kernels.values())), "kernels between positions")
    for how, candidates in kernels.items():
        best: dict[str, float] = {}
        for setting, make, number in candidates:
            kernel = make(options.side, number)
            for name, known in problems.items():
                picture, error = completed(kernel, image, known)
                if error < best.get(name, np.inf):
                    best[name], pictures[name][how] = error, picture
                    say(f"{name}: {how}, {setting}, left-out error {error:.3g}")
                advance()
    found = {
        name: {how: psnr(image, pictures[name][how], known) for how in HOWS}
        for name, known in problems.items()
    }
    say("\nPeak signal-to-noise ratio at missing pixels, in dB\n")
    say(f"{'':<16}" + "".join(f"{how:>20}" for how in HOWS))
    for name, each in found.items():
        say(f"{name:<16}" + "".join(f"{value:>20.2f}" for value in each.values()))
    plot(options.out / "complete.png", image, problems, pictures, found)
    return found


def plot(
    path: Path,
    image: np.ndarray,
    problems: dict[str, np.ndarray],
    pictures: dict[str, dict[str, np.ndarray]],
    found: dict[str, dict[str, float]],
) -> None:
    """For each mask, what is known, what was made of it, and what is right."""
    figure = Figure(figsize=(11, 4.4), dpi=110, layout="constrained")
    grid = figure.subplots(len(problems), 6)
    for line, (name, known) in zip(grid, problems.items(), strict=True):
        given = np.where(known[:, :, None], image, 1.0)
        shown = {"known": given, **{how: pictures[name][how] for how in HOWS[1:]}}
        for axes, (how, picture) in zip(line, {**shown, "original": image}.items(), strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            decibels = f"\n{found[name][how]:.1f} dB" if how in found[name] else "\n"
            axes.set_title(how + decibels, fontsize=9, loc="left", color=INK)
        line[0].set_ylabel(name, fontsize=9, color=INK)
    save(figure, path)


if __name__ == "__main__":
    main()
