"""What the demo shows while it works, and what it prints and writes at the end."""

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm


class Result(NamedTuple):
    """One method on one training set: what was chosen there, and the accuracies."""

    method: str
    training_size: int
    split: int
    setting: str
    validation_accuracy: float
    training_accuracy: float
    test_accuracy: float


def say(text: str) -> None:
    print(text, flush=True)


def progress(total: int, label: str) -> Callable[[], None]:
    """Announce work in `total` parts; call the result after each. A bar only on a terminal."""
    if not sys.stderr.isatty():
        say(f"{label} ...")
    bar = tqdm(total=total, desc=label, disable=None, leave=False)
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        bar.update()
        if done == total:
            bar.close()

    return advance


def methods_of(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(result.method for result in results))


def accuracies(results: Sequence[Result], method: str, sizes: Sequence[int]) -> np.ndarray:
    """Test accuracies of one method, (sizes, splits)."""
    mine = [result for result in results if result.method == method]
    return np.array(
        [[result.test_accuracy for result in mine if result.training_size == n] for n in sizes]
    )


def print_table(results: Sequence[Result], sizes: Sequence[int]) -> None:
    say("\nTest accuracy in %, mean ± standard deviation over the splits, by training images\n")
    say(f"{'':<24}" + "".join(f"{size:>13}" for size in sizes))
    for name in methods_of(results):
        values = 100 * accuracies(results, name, sizes)
        cells = [f"{row.mean():.1f} ± {row.std():.1f}" for row in values]
        say(f"{name:<24}" + "".join(f"{cell:>13}" for cell in cells))


def print_settings(results: Sequence[Result], size: int) -> None:
    say(f"\nChosen by cross-validation within the {size} training images of the first split\n")
    for result in results:
        if result.training_size == size and result.split == 0:
            say(f"{result.method:<24}{result.setting}")
    say("")


def write_results(out: Path, results: Sequence[Result], options: Mapping[str, Any]) -> None:
    """results.csv, one line for each method, size and split; options.json, how to repeat it."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Result._fields)
        writer.writerows(results)
    plain = {
        key: str(value) if isinstance(value, Path) else value for key, value in options.items()
    }
    (out / "options.json").write_text(json.dumps(plain, indent=1) + "\n")


def write_convergence(
    out: Path, depth: int, widths: Sequence[int], errors: Mapping[str, np.ndarray]
) -> None:
    """convergence.json: relative errors of the empirical kernels, a list of seeds per width."""
    record = {
        "hidden_layers": depth,
        "widths": list(widths),
        "relative_errors": {name: values.tolist() for name, values in errors.items()},
    }
    (out / "convergence.json").write_text(json.dumps(record, indent=1) + "\n")
