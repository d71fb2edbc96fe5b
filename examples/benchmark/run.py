"""Times of exact kernels, their scaling, memory and accuracy; beside neural_tangents if asked.

Every measurement runs in a fresh process. With --peer, both libraries compute the same kernels
between the same random points in turn, and what they computed is compared.
"""

import json
import os
import platform
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from command_line import parse
from gradients import GRADIENTS, gradients_table, measure_gradient
from jobs import NEAR_EQUAL, ROWS, SCALINGS
from measure import (
    Say,
    measure_memory,
    measure_near_equal,
    measure_row,
    measure_scaling,
    pythons,
)
from nonlinearities import activation_rows, activations_table
from processes import WorkerError
from tables import all_tables

# One part of the work: where its result belongs, what it is, and how to get it.
Task = tuple[str, str, Callable[[Say], Any]]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments, __doc__)
    results = json.loads(options.load.read_text()) if options.load else measure(options)
    tables = list(all_tables(results))
    if results.get("gradients"):
        tables.append(gradients_table(results["gradients"]))
    if results.get("activations"):
        tables.append(activations_table(results["activations"]))
    for table in tables:
        print("\n" + (table.as_markdown() if options.markdown else table.as_text()))
    print("\n" + machine_text(results))
    if options.plot != "-":
        # Only here: the plotting library is of no use to whoever wants numbers alone.
        from charts import plot

        if plot(Path(options.plot), results):
            print(f"The plot is in {options.plot}.")


def measure(options: Namespace) -> dict[str, Any]:
    """All that was asked for, saved after every part; an interrupt keeps what there is."""
    results: dict[str, Any] = {"machine": machine()}
    tasks = planned(options)
    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - began:6.0f} s        {text}", flush=True)

    for done, (part, title, work) in enumerate(tasks, start=1):
        print(f"{time.perf_counter() - began:6.0f} s  [{done}/{len(tasks)}] {title}", flush=True)
        try:
            add(results, part, work(say))
        except WorkerError as error:
            say(str(error))
        except KeyboardInterrupt:
            say("interrupted: the rest is left out")
            break
        finally:
            if options.json:
                options.json.parent.mkdir(parents=True, exist_ok=True)
                options.json.write_text(json.dumps(results, indent=1) + "\n")
    return results


def add(results: dict[str, Any], part: str, found: Any) -> None:
    if part in ("rows", "gradients", "accuracy", "activations"):
        results.setdefault(part, []).append(found)
    else:
        results[part] = found


def planned(options: Namespace) -> list[Task]:
    python, repeats, quick = pythons(options.peer), options.repeats, options.quick
    tasks: list[Task] = []
    if "rows" in options.what:
        tasks += [
            (
                "rows", f"row {row.number}: {row.title}",
                lambda say, row=row: measure_row(row, python, repeats, quick, say),
            )
            for row in ROWS if str(row.number) in options.rows
        ]  # fmt: skip
    for part, scaling in SCALINGS.items():
        if part in options.what:
            cases = scaling.quick if quick else scaling.cases
            tasks.append(
                (
                    part, f"{scaling.title} of row 1: {', '.join(map(str, cases))}",
                    lambda say, s=scaling, c=cases: measure_scaling(s, c, repeats, say),
                )
            )  # fmt: skip
    if "gradients" in options.what:
        tasks += [
            (
                "gradients", f"gradient through {case.title}",
                lambda say, case=case: measure_gradient(case, python, repeats, say),
            )
            for case in GRADIENTS
        ]  # fmt: skip
    if "activations" in options.what:
        tasks += [
            (
                "activations", f"{row.title}, {row.block} x {row.block}",
                lambda say, row=row: measure_row(row, python, repeats, quick, say),
            )
            for row in activation_rows(quick)
        ]  # fmt: skip
    if "accuracy" in options.what:
        tasks += [
            (
                "accuracy", f"near-equal points: {case.title}",
                lambda say, case=case: measure_near_equal(case, python, say),
            )
            for case in NEAR_EQUAL
        ]  # fmt: skip
    if "memory" in options.what:
        tasks.append(("memory", "memory of row 1 with a large block (minutes)", measure_memory))
    return tasks


def machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")
    if about.exists():
        names = [line for line in about.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return {"processor": model, "cores": os.cpu_count(), "system": platform.system()}


def machine_text(results: dict[str, Any]) -> str:
    about = results["machine"]
    sides = [
        (package, found)
        for record in [*results.get("rows", []), *results.get("activations", [])]
        for package in ("ntkjax", "neural_tangents")
        if (found := record.get(package))
    ]
    versions = {
        f"{package} {found['versions'][package]} with jax {found['versions']['jax']}"
        for package, found in sides
    }
    devices = {found.get("device", "cpu") for _, found in sides} - {"cpu"}
    where = f"{about['processor']}, {about['cores']} cores, {about['system']}"
    return "; ".join([where, *sorted(devices), *sorted(versions)]) + "."


if __name__ == "__main__":
    main()
