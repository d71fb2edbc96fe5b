"""A file of results that a stopped run leaves and the next one goes on with."""

import json
from pathlib import Path
from typing import Any

Key = tuple[str, str, str | None]


class Log:
    """Results by data set, method and kernel, one JSON object a line; the whole method's: None."""

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, {}
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for line in text.splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # a run was stopped while it wrote
                continue
            self.found[row.pop("dataset"), row.pop("method"), row.pop("kernel")] = row
        if text and not text.endswith("\n"):
            path.write_text(text + "\n", encoding="utf-8")

    def has(self, dataset: str, method: str, kernel: str | None = None) -> bool:
        return (dataset, method, kernel) in self.found

    def get(self, dataset: str, method: str, kernel: str | None = None) -> dict[str, Any]:
        return self.found[dataset, method, kernel]

    def add(self, dataset: str, method: str, kernel: str | None, row: dict[str, Any]) -> None:
        """Write a result down at once."""
        self.found[dataset, method, kernel] = row
        key = {"dataset": dataset, "method": method, "kernel": kernel}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**key, **row}) + "\n")
