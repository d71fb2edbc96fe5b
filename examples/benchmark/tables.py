"""The tables, from the saved records: as aligned text or as Markdown."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from arithmetic import by_law, cost_ms, digits, speedup
from jobs import FIRST_CALL_LIMIT, MEMORY_LIMIT, ROWS, SCALINGS, Row, Scaling
from spec import OURS, PEER

NOTHING = "–"
Results = Mapping[str, Any]


class Table(NamedTuple):
    """A title and notes, and cells of which the first column is text and the rest numbers."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def as_text(self) -> str:
        columns = zip(self.headers, *self.rows, strict=True)
        widths = [max(map(len, column)) for column in columns]
        lines = [
            "  ".join(
                [cells[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
            ).rstrip()
            for cells in (self.headers, ["-" * width for width in widths], *self.rows)
        ]
        return "\n".join([self.title, "", *lines, *self.notes])

    def as_markdown(self) -> str:
        dashes = ["---"] + ["---:"] * (len(self.headers) - 1)
        lines = [f"| {' | '.join(cells)} |" for cells in (self.headers, dashes, *self.rows)]
        notes = [f"\n{note}" for note in self.notes]
        return "\n".join([f"### {self.title}", "", *lines, *notes])


def all_tables(results: Results) -> Iterator[Table]:
    """Only of what was measured."""
    rows = [(by_number(record["row"]), record) for record in results.get("rows", [])]
    if rows:
        yield comparison(rows)
        yield first_calls(rows)
    for name, scaling in SCALINGS.items():
        if records := scaling_records(results, name):
            yield scaling_table(scaling, records)
    if results.get("memory"):
        yield memory_table(results["memory"])
    if results.get("accuracy"):
        yield accuracy_table(results["accuracy"])


def scaling_records(results: Results, name: str) -> list[Results]:
    """The large block of the memory measurement is one more block size."""
    records = list(results.get(name, []))
    if records and name == "blocks" and results.get("memory"):
        records.append(results["memory"])
    return records


def by_number(number: int) -> Row:
    return next(row for row in ROWS if row.number == number)


def comparison(rows: Sequence[tuple[Row, Results]]) -> Table:
    cells = []
    for row, record in rows:
        ratio = speedup(record, row.whole)
        cells.append(
            [
                f"{row.number}  {row.title}",
                *(cost_cell(record.get(package), row.whole) for package in (OURS, PEER)),
                NOTHING if ratio is None else f"{digits(ratio)} x",
                target_cell(row),
                verdict(None if ratio is None else ratio >= row.target),
                difference_cell(record),
            ]
        )
    notes = [
        f"Row {row.number}, {where}: {note}"
        for row, record in rows
        for where, note in record["notes"].items()
    ]
    headers = ["row", OURS, PEER, "faster", "target", "met", "NTKs differ by"]
    title = "ms an entry (* whole matrix), block of pairs computed at once in brackets; float32"
    return Table(title, headers, cells, notes)


def first_calls(rows: Sequence[tuple[Row, Results]]) -> Table:
    cells = []
    for row, record in rows:
        side = record.get(OURS)
        if side:
            later = cost_ms(side, whole=True) / 1e3
            preparing = side["first"] - later
            cells.append(
                [
                    f"{row.number}  {row.title}",
                    block_text(side),
                    f"{side['first']:.2f}",
                    f"{later:.2f}",
                    f"{preparing:.2f}",
                    f"{FIRST_CALL_LIMIT:g}",
                    verdict(preparing <= FIRST_CALL_LIMIT),
                ]
            )
    headers = ["row", "block", "first call", "later calls", "difference", "limit", "met"]
    return Table("The first call of ntkjax traces and compiles; seconds", headers, cells)


def scaling_table(scaling: Scaling, records: Sequence[Results]) -> Table:
    cases = [record["case"] for record in records]
    costs = [cost_ms(record) for record in records]
    shares, relative = by_law(cases, costs, scaling.power, scaling.row_1)
    cells = [
        [str(case), digits(cost), digits(1e6 * share), f"{ratio:.2f}"]
        for case, cost, share, ratio in zip(cases, costs, shares, relative, strict=True)
    ]
    headers = [scaling.quantity, "ms an entry", f"ns per {scaling.per}", "relative"]
    return Table(f"{scaling.title}: row 1 of ntkjax", headers, cells)


def memory_table(record: Results) -> Table:
    met = verdict(record["peak_mib"] <= MEMORY_LIMIT)
    cells = [
        [block_text(record), f"{record['peak_mib']:.0f}", f"{MEMORY_LIMIT:g}", met],
    ]
    headers = ["block", "MiB", "limit", "met"]
    return Table("Peak memory of the whole process, row 1 of ntkjax", headers, cells)


def accuracy_table(records: Sequence[Results]) -> Table:
    cells = []
    for record in records:
        for package in (OURS, PEER):
            found = record.get(package)
            if found:
                share = found["eigenvalue"] / found["true_eigenvalue"]
                numbers = [f"{found['error']:.1e}", f"{share:.4f}"]
                cells.append([record["case"], package, *numbers])
    notes = case_notes(records)
    differences = [record["difference"] for record in records if "difference" in record]
    if differences:
        notes.append(f"The float64 kernels of both differ by at most {max(differences):.1e}.")
    headers = [
        "network", "library", "largest relative error", "smallest eigenvalue / true one",
    ]  # fmt: skip
    title = "The float32 NTK of points that each have a near-equal one, against float64"
    return Table(title, headers, cells, notes)


def case_notes(records: Sequence[Results]) -> list[str]:
    """What went wrong, and where."""
    return [
        f"{record['case']}, {where}: {note}"
        for record in records
        for where, note in record["notes"].items()
    ]


def cost_cell(side: Results | None, whole: bool) -> str:
    if not side:
        return NOTHING
    return f"{digits(cost_ms(side, whole))}{'*' if whole else ''} ({block_text(side)})"


def target_cell(row: Row) -> str:
    return f">= {row.target:g}" + (f" (aim {row.aim:g})" if row.aim else "")


def verdict(met: bool | None) -> str:
    return NOTHING if met is None else "yes" if met else "NO"


def difference_cell(record: Results) -> str:
    """The largest relative difference, and of how many entries."""
    if record.get("difference") is None:
        return NOTHING
    number = (
        f"{record['difference']:.1e}" if math.isfinite(record["difference"]) else "NOT A NUMBER"
    )
    return f"{number} (of {record['compared']})"


def block_text(side: Results) -> str:
    return " x ".join(map(str, side["block"]))
