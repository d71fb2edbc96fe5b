"""The command line of the benchmark."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from jobs import MEMORY_BLOCK, ROWS

PARTS = {
    "rows": "the rows of the comparison, with their first calls",
    "blocks": "cost per entry of row 1 by block size",
    "depths": "... by depth",
    "sizes": "... by image size",
    "gradients": "gradients of a loss through the kernel, of five networks (minutes)",
    "activations": "every nonlinearity, between two dense layers (minutes)",
    "accuracy": "float32 against float64 at near-equal points",
    "memory": f"peak memory of row 1 with a {MEMORY_BLOCK} x {MEMORY_BLOCK} block (minutes)",
}
USUAL = [part for part in PARTS if part not in ("memory", "activations", "gradients")]


def parse(arguments: Sequence[str] | None, description: str | None) -> argparse.Namespace:
    rows = "\n".join(f"  {row.number}  {row.title}" for row in ROWS)
    parts = "\n".join(f"  {name:<13}{text}" for name, text in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="run.py",
        description=description,
        epilog=f"rows:\n{rows}\n\nparts:\n{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(name: str, help: str, **how) -> None:
        parser.add_argument(name, help=help, **how)

    add(
        "--peer",
        "interpreter of an environment with neural_tangents, to measure and compare it as well",
        metavar="PYTHON",
    )
    add(
        "--what",
        f"parts to measure, or all (default: {','.join(USUAL)})",
        type=chosen_from(list(PARTS)),
        default=USUAL,
        metavar="PART,...",
    )
    add(
        "--rows",
        "numbers of rows to measure (default: all)",
        type=chosen_from([str(row.number) for row in ROWS]),
        default=[str(row.number) for row in ROWS],
        metavar="N,...",
    )
    add(
        "--repeats",
        "calls after the first, of which the median counts; slow rows stop after three (default: "
        "5, with --quick 1)",
        type=positive,
        metavar="N",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer repeats and cases, and only the first block size of neural_tangents",
    )
    add("--json", "save the measurements to this file", type=Path, metavar="PATH")
    add(
        "--load",
        "measure nothing: show what an earlier run saved with --json",
        type=Path,
        metavar="PATH",
    )
    parser.add_argument(
        "--markdown", action="store_true", help="print the tables as those of docs/benchmarks.md"
    )
    add(
        "--plot",
        "file of the plot (default: %(default)s); - for none",
        default="benchmark.png",
        metavar="PATH",
    )
    options = parser.parse_args(arguments)
    options.repeats = options.repeats or (1 if options.quick else 5)
    return options


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def chosen_from(names: Sequence[str]) -> Callable[[str], list[str]]:
    """A parser of lists such as 1,3, or all; in the order of `names`."""

    def parse_list(text: str) -> list[str]:
        asked = list(names) if text == "all" else text.split(",")
        unknown = [name for name in asked if name not in names]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"{unknown[0]!r} is none of {', '.join(names)}, and not all"
            )
        return [name for name in names if name in asked]

    return parse_list
