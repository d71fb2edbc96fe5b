"""A worker process, and turns between several."""

import contextlib
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from spec import Spec

WORKER = Path(__file__).with_name("worker.py")
# No kernel compiled earlier shortens a first call, and both libraries run on the processor, unless
# JAX_PLATFORMS names an accelerator.
ENVIRONMENT = {
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu"),
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# Repeats end early after this many seconds, but not before this many of them.
PATIENCE, LEAST_REPEATS = 60.0, 3


class WorkerError(Exception):
    """The worker gave no result; says why."""


class Worker:
    """A process that computes one kernel again and again; `first` is the answer to its first call.

    Use it in a `with` block, at whose end the process ends.
    """

    def __init__(self, python: str, spec: Spec) -> None:
        # A file, since a full pipe that no one reads would stop the worker.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, str(WORKER), spec.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | ENVIRONMENT,
        )
        try:
            self.first = self._answer()
        except BaseException:
            self.close()
            raise

    def again(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        # If the worker has died, its missing answer tells more than the broken pipe.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"missing": self._last_words()}
        if "missing" in answer:
            self.close()
            raise WorkerError(answer["missing"])
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"ended by signal {-code}" + (", probably out of memory" if code == -9 else "")
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return lines[-1] if lines else f"ended with status {code}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None and not stream.closed:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Answers = dict[str, list[dict[str, Any]]]


def in_turn(workers: dict[str, Worker], repeats: int) -> tuple[Answers, dict[str, str]]:
    """Each worker's answers, its first included, and why a worker stopped before its time.

    A B A B: a slow minute of the machine slows all of them.
    """
    answers = {name: [worker.first] for name, worker in workers.items()}
    failures: dict[str, str] = {}
    began = time.perf_counter()
    for repeat in range(1, repeats + 1):
        for name in [name for name in workers if name not in failures]:
            try:
                answers[name].append(workers[name].again())
            except WorkerError as error:
                failures[name] = str(error)
        if repeat >= LEAST_REPEATS and time.perf_counter() - began > PATIENCE:
            break
    return {name: given for name, given in answers.items() if len(given) > 1}, failures
