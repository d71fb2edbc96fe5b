"""Measures: rows in both libraries, ways to scale the first row, memory, near-equal points.

Every function returns plain records, as they are saved. What fails leaves a note in its record.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from arithmetic import accuracy, cost_ms, digits, entries, largest_difference, relative_error
from jobs import MEMORY_BLOCK, NearEqual, Row, Scaling, scaled
from processes import Worker, WorkerError, in_turn
from spec import OURS, PEER, Spec

Record = dict[str, Any]
Say = Callable[[str], None]


def pythons(peer: str | None) -> dict[str, str]:
    """The interpreter that has each library."""
    return {OURS: sys.executable} | ({PEER: peer} if peer else {})


def measure_row(row: Row, python: Mapping[str, str], repeats: int, quick: bool, say: Say) -> Record:
    """Times of both libraries in turn, and the difference of what they computed."""
    record: Record = {"row": row.number, "notes": {}}
    workers: dict[str, Worker] = {}
    sizes = {OURS: [row.block], PEER: row.peer_blocks[:1] if quick else row.peer_blocks}
    blocks = {}
    with ExitStack() as stack:
        for package in python:
            try:
                worker, blocks[package] = best_worker(
                    row, package, sizes[package], python[package], say
                )
            except WorkerError as error:
                record["notes"][package] = str(error)
                say(f"{package}: {error}")
            else:
                workers[package] = stack.enter_context(worker)
        say(f"taking turns, {repeats} times or until it takes too long")
        answers, failures = in_turn(workers, repeats)
    record["notes"] |= failures
    for package, given in answers.items():
        record[package] = side(blocks[package], given)
        say(f"{package}: {described(record[package], row.whole)}")
    if len(answers) == 2:
        ours, peer = (entries(answers[package]) for package in (OURS, PEER))
        record["difference"], record["compared"] = largest_difference(ours, peer)
    return record


def best_worker(
    row: Row, package: str, blocks: Sequence[int], python: str, say: Say
) -> tuple[Worker, int]:
    """Of the block sizes, ascending, the cheapest per entry: its running worker, and itself."""
    costs: dict[int, float] = {}
    best: Worker | None = None
    for block in blocks:
        try:
            worker = Worker(python, row.spec(package, block))
            say(f"{package}, {block} x {block}: first call {worker.first['seconds']:.2f} s")
            # A single size needs no trial.
            costs[block] = worker.again()["seconds"] / block**2 if len(blocks) > 1 else 0.0
        except WorkerError as error:
            if best is None:
                raise
            say(f"{package}, {block} x {block}: {error}")
            break
        if best is None or costs[block] == min(costs.values()):
            best, worker = worker, best
        if worker is not None:
            worker.close()
    assert best is not None
    return best, min(costs, key=lambda block: costs[block])


def side(block: int, answers: Sequence[Mapping[str, Any]]) -> Record:
    """One library's part of a record."""
    return {
        "block": [block, block],
        "first": answers[0]["seconds"],
        "seconds": [answer["seconds"] for answer in answers[1:]],
        "peak_mib": max(answer["peak_mib"] for answer in answers),
        "versions": answers[0]["versions"],
        "device": answers[0].get("device", "cpu"),
    }


def described(record: Record, whole: bool = False) -> str:
    unit = "a matrix" if whole else "an entry"
    return (
        f"first call {record['first']:.2f} s, then {digits(cost_ms(record, whole))} ms {unit}, "
        f"peak memory {record['peak_mib']:.0f} MiB"
    )


def measure_scaling(scaling: Scaling, cases: Sequence[int], repeats: int, say: Say) -> list[Record]:
    """Costs of the first row with one quantity varied; the cases in turn."""
    specs = {str(case): scaled(scaling.quantity, case) for case in cases}
    workers = {}
    with ExitStack() as stack:
        for case, spec in specs.items():
            worker = workers[case] = stack.enter_context(Worker(sys.executable, spec))
            say(f"{scaling.quantity} {case}: first call {worker.first['seconds']:.2f} s")
        answers, failures = in_turn(workers, repeats)
    for case, error in failures.items():
        say(f"{scaling.quantity} {case}: {error}")
    records = []
    for case, given in answers.items():
        records.append({"case": int(case), **side(specs[case].block[0], given)})
        say(f"{scaling.quantity} {case}: {described(records[-1])}")
    return records


def measure_memory(say: Say) -> Record:
    """The first row with a large block: one call after the first, and the peak of the process."""
    with Worker(sys.executable, scaled("block", MEMORY_BLOCK)) as worker:
        say(f"first call {worker.first['seconds']:.1f} s; once more")
        record = {"case": MEMORY_BLOCK, **side(MEMORY_BLOCK, [worker.first, worker.again()])}
    say(described(record))
    return record


def measure_near_equal(case: NearEqual, python: Mapping[str, str], say: Say) -> Record:
    """float32 against float64 of the same library, and the libraries' float64 kernels compared."""
    record: Record = {"case": case.title, "notes": {}}
    true = {}
    for package in python:
        try:
            single, true[package] = (
                kernel(python[package], case.spec(package, dtype))
                for dtype in ("float32", "float64")
            )
        except WorkerError as error:
            record["notes"][package] = str(error)
            say(f"{package}: {error}")
            continue
        record[package] = accuracy(single, true[package])
        say(f"{package}: largest relative error {record[package]['error']:.2g}")
    if len(true) == 2:
        record["difference"] = relative_error(true[OURS], true[PEER])
    return record


def kernel(python: str, spec: Spec) -> np.ndarray:
    with Worker(python, spec) as worker:
        return np.array(worker.first["ntk"])
