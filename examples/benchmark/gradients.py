"""Gradients of a loss through the kernel: which ones are measured, and their table.

The loss is that of dataset distillation by kernel inducing points, as users of the kernel write it:
a ridge regression on n1 images that are learned, tested on n2 others.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from arithmetic import cost_ms, digits, entries, largest_difference
from jobs import IMAGE
from measure import Record, Say, side
from processes import Worker, WorkerError, in_turn
from spec import OURS, PEER, Spec
from tables import NOTHING, Table, case_notes, difference_cell


class Gradient(NamedTuple):
    """A network, and the numbers of images that are learned and of those that it is tested on.

    The gradient is that by the images that are learned, or by `W_std` and `b_std`.
    """

    title: str
    network: str
    options: Mapping[str, Any]
    block: tuple[int, int]
    fits_peer: bool = True
    by_numbers: bool = False
    shape: tuple[int, ...] = IMAGE

    def specs(self, package: str) -> dict[str, Spec]:
        """Of the loss alone, and with its gradient."""
        losses = {"value": "value", "gradient": "slopes" if self.by_numbers else "gradient"}
        return {
            part: Spec(package, self.network, self.options, self.shape, self.block, loss=loss)
            for part, loss in losses.items()
        }


GRADIENTS = (
    Gradient("Flatten, 3 x (Dense, Relu), Dense", "flat", {"depth": 3}, (20, 200)),
    Gradient(
        "8 x (Conv, Relu), Flatten, Dense", "convolutional",
        {"depth": 8, "pooling": "Flatten"}, (20, 50),
    ),
    Gradient("3 x (Conv, Relu, AvgPool), Flatten, Dense", "halved", {"depth": 3}, (10, 20)),
    Gradient(
        "5 x (Conv, Relu), GlobalAvgPool, Dense", "convolutional",
        {"depth": 5, "pooling": "GlobalAvgPool"}, (10, 10), fits_peer=False,
    ),
    Gradient(
        "by W_std and b_std: 21 x (Conv, Relu), GlobalAvgPool, Dense; 16 x 16 pixels",
        "convolutional", {"depth": 21, "pooling": "GlobalAvgPool"}, (4, 4), by_numbers=True,
        shape=(16, 16, 3),
    ),
)  # fmt: skip


def measure_gradient(
    case: Gradient, python: Mapping[str, str], repeats: int, say: Say
) -> dict[str, Any]:
    """The loss and its gradient with both libraries, all in turn."""
    record: Record = {"case": case.title, "notes": {}}
    workers = {}
    with ExitStack() as stack:
        for package in python if case.fits_peer else [OURS]:
            for part, spec in case.specs(package).items():
                try:
                    worker = Worker(python[package], spec)
                except WorkerError as error:
                    record["notes"][f"{package}, {part}"] = str(error)
                    say(f"{package}, {part}: {error}")
                    continue
                workers[f"{package}, {part}"] = stack.enter_context(worker)
                say(f"{package}, {part}: first call {worker.first['seconds']:.1f} s")
        answers, failures = in_turn(workers, repeats)
    record["notes"] |= failures
    for name, given in answers.items():
        record[name] = side(1, given)
        say(f"{name}: {digits(cost_ms(record[name], whole=True))} ms")
    names = [f"{package}, gradient" for package in (OURS, PEER)]
    if all(name in answers for name in names):
        ours, peer = (entries(answers[name]) for name in names)
        record["difference"], record["compared"] = largest_difference(ours, peer)
    return record


def gradients_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Times of the gradient, beside those of its loss and of the other library."""
    blocks = {case.title: case.block for case in GRADIENTS}
    cells = []
    for record in records:
        value, gradient, peer = (
            record.get(name)
            for name in (f"{OURS}, value", f"{OURS}, gradient", f"{PEER}, gradient")
        )
        cells.append(
            [
                "{}; {} x {}".format(record["case"], *blocks[record["case"]]),
                ms_cell(value),
                ms_cell(gradient),
                ratio_cell(gradient, value),
                ms_cell(peer),
                ratio_cell(peer, gradient, " x"),
                difference_cell(record),
                f"{gradient['first']:.1f}" if gradient else NOTHING,
            ]
        )
    headers = [
        "network", "loss", "and gradient", "over loss", PEER, "faster", "gradients differ by",
        "first call, s",
    ]  # fmt: skip
    title = "ms of the loss of dataset distillation, and of its value and gradient; float32"
    return Table(title, headers, cells, case_notes(records))


def ms_cell(side: Mapping[str, Any] | None) -> str:
    return digits(cost_ms(side, whole=True)) if side else NOTHING


def ratio_cell(
    one: Mapping[str, Any] | None, other: Mapping[str, Any] | None, unit: str = ""
) -> str:
    if not one or not other:
        return NOTHING
    return digits(cost_ms(one, whole=True) / cost_ms(other, whole=True)) + unit
