"""The command line of the demo, and the images that it asks for."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets import Dataset
from kernels import standardized
from splits import subset

# The CNTK costs in proportion to the square of the number of positions, so that larger images are
# averaged down to at most this many pixels a side, and fewer of them are used.
LARGEST_SIDE = 16
SMALL_IMAGE = 100  # pixels
SMALL_SIZES, SMALL_TEST = [20, 50, 100, 200, 500], 200
LARGE_SIZES, LARGE_TEST = [20, 50, 100], 100
WIDTHS = [8, 16, 32, 64, 128, 256]
# On these digits the training of the finite network was settled (optimizer, width, steps, menu of
# learning rates), so that no accuracy is measured on them.
DIGITS_SEEN = 700


def parse(arguments: Sequence[str] | None, description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="digits.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(name: str, help: str, **how) -> None:
        parser.add_argument(name, help=help, **how)

    add(
        "--data",
        "CIFAR-10 (folder of batches, .tar.gz, .bin), MNIST (folder of IDX files) or .npz with "
        "images and labels; default: the digits bundled with scikit-learn",
        type=Path,
        metavar="PATH",
    )
    add(
        "--out",
        "folder for plots and numbers (default: %(default)s)",
        type=Path,
        default=Path("demo_results"),
        metavar="DIR",
    )
    add(
        "--train-sizes",
        f"training sizes (default: {listed(SMALL_SIZES)}; {listed(LARGE_SIZES)} for images of "
        f"more than {SMALL_IMAGE} pixels)",
        type=sizes,
        metavar="N,N,...",
    )
    add(
        "--test-size",
        f"test images of each split (default: {SMALL_TEST}; {LARGE_TEST} for images of more than "
        f"{SMALL_IMAGE} pixels)",
        type=positive,
        metavar="N",
    )
    number = {"metavar": "N", "type": positive}
    add("--splits", "random splits to average over (default: %(default)s)", default=3, **number)
    add(
        "--seed",
        "decides images, splits and weights (default: 0)",
        metavar="N",
        type=int,
        default=0,
    )
    add(
        "--skip",
        f"images to leave out, at the head of seed 0's random order (default: {DIGITS_SEEN} of the "
        "bundled digits, on which the finite network's training was settled; else 0)",
        metavar="N",
        type=int,
    )
    add("--depth", "depths from 1 to this are tried (default: %(default)s)", default=2, **number)
    add(
        "--width",
        "channels of the finite network that is trained, 0 for none (default: %(default)s)",
        type=int,
        default=64,
        metavar="N",
    )
    add(
        "--widths",
        f"widths at which a finite kernel is compared (default: {listed(WIDTHS)})",
        type=sizes,
        default=WIDTHS,
        metavar="N,N,...",
    )
    add(
        "--shrink",
        "average blocks of N x N pixels into one (default: so that no side is longer than "
        f"{LARGEST_SIDE})",
        **number,
    )
    return parser.parse_args(arguments)


def small_parser(script: str, description: str | None) -> argparse.ArgumentParser:
    """A command line with a folder for the plot and a seed, to which a script adds its own."""
    parser = argparse.ArgumentParser(
        prog=script,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out",
        help="folder for the plot (default: %(default)s)",
        type=Path,
        default=Path("demo_results"),
        metavar="DIR",
    )
    parser.add_argument("--seed", help="default: %(default)s", type=int, default=0, metavar="N")
    return parser


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def sizes(text: str) -> list[int]:
    return sorted({positive(part) for part in text.split(",")})


def listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def prepared(data: Dataset, options: argparse.Namespace) -> Dataset:
    """As many images as the splits need, shrunk and standardised; fills in the open options."""
    height, width = data.images.shape[1:3]
    options.shrink = options.shrink or -(-max(height, width) // LARGEST_SIDE)
    if options.shrink > min(height, width):
        raise SystemExit(
            f"--shrink {options.shrink} leaves nothing of images of {height} x {width} pixels"
        )
    small = (height // options.shrink) * (width // options.shrink) <= SMALL_IMAGE
    options.train_sizes = options.train_sizes or (SMALL_SIZES if small else LARGE_SIZES)
    options.test_size = options.test_size or (SMALL_TEST if small else LARGE_TEST)
    largest = options.train_sizes[-1]
    if options.skip is None:
        options.skip = DIGITS_SEEN if options.data is None else 0
    unseen = np.setdiff1d(np.arange(len(data.labels)), subset(data.labels, options.skip, 0))
    if largest + options.test_size > len(unseen):
        raise SystemExit(
            f"{data.name} has {len(data.labels)} images, of which {options.skip} are skipped, but "
            f"{largest} for training and {options.test_size} for tests were asked for: lower "
            "--train-sizes, --test-size or --skip"
        )
    chosen = unseen[subset(data.labels[unseen], largest + options.test_size, options.seed)]
    images = standardized(shrunk(data.images[chosen], options.shrink))
    return data._replace(images=images, labels=data.labels[chosen])


def shrunk(images: np.ndarray, factor: int) -> np.ndarray:
    """Means over blocks of factor x factor pixels; what does not fill a block is cut off."""
    n, height, width, channels = images.shape
    height, width = height // factor, width // factor
    cut = images[:, : height * factor, : width * factor]
    return cut.reshape(n, height, factor, width, factor, channels).mean(axis=(2, 4))
