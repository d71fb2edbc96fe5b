"""Every nonlinearity between two dense layers: which ones are measured, and their table."""

from collections.abc import Mapping, Sequence
from typing import Any

from arithmetic import cost_ms, digits, speedup
from jobs import Row
from spec import OURS, PEER
from tables import NOTHING, Table, difference_cell, verdict

POINTS, FEW_POINTS = 2000, 500

#: The arguments of each nonlinearity; those of functions are made in `networks.py`.
ARGUMENTS: Mapping[str, Sequence[Any]] = {
    "Relu": (),
    "LeakyRelu": (0.2,),
    "Abs": (),
    "ABRelu": (-0.5, 1.5),
    "Erf": (),
    "Gelu": (),
    "Sigmoid_like": (),
    "Sin": (),
    "Cos": (),
    "Rbf": (),
    "Gabor": (),
    "Gaussian": (),
    "Exp": (0.5, 0.5),
    "ExpNormalized": (),
    "Sign": (),
    "RectifiedMonomial": (2,),
    "Monomial": (3,),
    "Polynomial": ((0.5, 1.0, 0.2),),
    "Hermite": (3,),
    "Elu": (),
    "HardTanh": (),
    "Mish": (),
    "Selu": (),
    "Sigmoid": (),
    "Silu": (),
    "Softplus": (),
    "Tanh": (),
    "Elementwise": (),
    "ElementwiseNumerical": (),
}

#: What the other library stores for each pair: 625 numbers, so that it gets smaller blocks.
PEER_POINTS = {"ElementwiseNumerical": 250}


def activation_rows(quick: bool = False) -> list[Row]:
    """One row for each nonlinearity; with fewer points if it must be quick."""
    points = FEW_POINTS if quick else POINTS
    return [
        Row(
            number, name, "activation", {"activation": name, "arguments": arguments},
            (100,), points, [min(points, PEER_POINTS.get(name, points))], target=1.0,
        )
        for number, (name, arguments) in enumerate(ARGUMENTS.items())
    ]  # fmt: skip


def activations_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Times for a pair, in the order of the rows."""
    names, cells = list(ARGUMENTS), []
    for record in records:
        ratio = speedup(record)
        cells.append(
            [
                names[record["row"]],
                *(cost_cell(record.get(package)) for package in (OURS, PEER)),
                NOTHING if ratio is None else f"{digits(ratio)} x",
                verdict(None if ratio is None else ratio >= 1),
                difference_cell(record),
                f"{record[OURS]['first']:.1f}" if record.get(OURS) else NOTHING,
            ]
        )
    notes = [
        f"{names[record['row']]}, {where}: {note}"
        for record in records
        for where, note in record["notes"].items()
    ]
    headers = [
        "activation", OURS, PEER, "faster", "at least as fast", "NTKs differ by", "first call, s"
    ]  # fmt: skip
    title = (
        "Dense, activation, Dense; points of 100 numbers: ns a pair, block of points in brackets; "
        "float32"
    )
    return Table(title, headers, cells, notes)


def cost_cell(side: Mapping[str, Any] | None) -> str:
    """Nanoseconds for a pair."""
    return f"{digits(1e6 * cost_ms(side))} ({side['block'][0]})" if side else NOTHING
