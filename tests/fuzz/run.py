"""Hostile inputs for every parser, a process each: `python -m tests.fuzz.run --inputs 1000000`.

An input is made of `--seed`, the parser's name and a number, so that a run is the same on every
machine, and `--parser NAME --only NUMBER` makes one again. An input that computes for more than a
second, or ends in anything but the parser's own refusal, is a fault: the smallest input that shows
it is kept in tests/fuzz/regressions/NAME/, which tests/fuzz/test_parsers.py tries from then on. A
process that dies or says nothing for a minute is a fault, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import faulthandler
import hashlib
import multiprocessing
import os
import random
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from tests.fuzz.parsers import table
from tests.fuzz.watch import Parser, Tally, fault_of, smallest, try_one

REGRESSIONS = Path(__file__).parent / "regressions"
SILENCE_S = 60.0
_MEMORY_BYTES = 6 << 30  # of addresses


def input_of(name: str, number: int, *, seed: int) -> bytes:
    """One input of a parser."""
    parser, mutator = table()[name]
    return mutator(random.Random(f"{seed}/{name}/{number}"), parser.corpus)


def try_many(name: str, count: int, *, seed: int, progress: Synchronized | None = None) -> Tally:
    """Feed a parser `count` inputs in this process; `progress` has the number of the current."""
    parser, _ = table()[name]
    tally = Tally()
    for number in range(count):
        if progress is not None:
            progress.value = number
        try_one(parser, input_of(name, number, seed=seed), tally)
    return tally


def shares(inputs: int) -> dict[str, int]:
    """How many inputs each parser gets."""
    return {name: round(inputs * parser.share) for name, (parser, _) in table().items()}


def _work(name: str, count: int, seed: int, progress: Synchronized, answer: object) -> None:
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer.send(try_many(name, count, seed=seed, progress=progress))  # type: ignore[attr-defined]


def _in_a_process(name: str, count: int, seed: int) -> Tally:
    context = multiprocessing.get_context("spawn")
    progress: Synchronized = context.Value("q", -1)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(name, count, seed, progress, theirs))
    process.start()
    theirs.close()
    try:
        return _answer(name, seed, process, ours, progress)
    finally:
        process.kill()
        process.join()


def _answer(name: str, seed: int, process, ours, progress) -> Tally:  # type: ignore[no-untyped-def]
    number, since = -1, time.monotonic()
    while not ours.poll(1.0):
        if progress.value != number:
            number, since = progress.value, time.monotonic()
        elif number >= 0 and time.monotonic() - since > SILENCE_S:
            return _lost(name, number, seed, f"nothing for {SILENCE_S:g} s")
    try:
        tally: Tally = ours.recv()
    except EOFError:
        process.join()
        return _lost(name, progress.value, seed, f"the process died ({process.exitcode})")
    return tally


def _lost(name: str, number: int, seed: int, why: str) -> Tally:
    data = input_of(name, max(number, 0), seed=seed)
    return Tally(inputs=number + 1, faults={f"{why} at input {number}": data})


def _keep(parser: Parser, data: bytes, fault: str) -> Path:
    """The smallest input with that fault, as a file that the tests will try."""
    if "process" not in fault and "nothing for" not in fault and fault_of(parser, data) == fault:
        data = smallest(parser, data, fault, tries=60 if "TooSlow" in fault else 3000)
    path = REGRESSIONS / parser.name / hashlib.sha256(data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _only(name: str, number: int, seed: int) -> int:
    data = input_of(name, number, seed=seed)
    print(data)
    fault = fault_of(table()[name][0], data)
    print(fault or "no fault")
    return fault is not None


def main(arguments: Sequence[str]) -> int:
    """Try them, print a line a parser; the exit code is 0 when there was no fault."""
    reading = argparse.ArgumentParser("python -m tests.fuzz.run", description=__doc__)
    reading.add_argument("--inputs", type=int, default=10_000, help="of all parsers together")
    reading.add_argument("--parser", choices=sorted(table()), help="this one only")
    reading.add_argument("--seed", type=int, default=0)
    reading.add_argument("--only", type=int, help="make and try this input of --parser again")
    reading.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="processes")
    given = reading.parse_args(arguments)
    if given.only is not None:
        return _only(given.parser, given.only, given.seed)
    counts = {given.parser: given.inputs} if given.parser else shares(given.inputs)
    print(f"{'parser':20}{'inputs':>9}{'taken':>9}{'slowest ms':>12}  faults")
    total, faults = 0, 0
    with ThreadPoolExecutor(given.at_once) as pool:
        tallies = pool.map(lambda item: _in_a_process(*item, given.seed), counts.items())
        for name, tally in zip(counts, tallies, strict=True):
            print(_line(name, tally), flush=True)
            for fault, data in tally.faults.items():
                kept = _keep(table()[name][0], data, fault)
                print(f"    {fault}: {kept.relative_to(Path.cwd())}", flush=True)
            total, faults = total + tally.inputs, faults + len(tally.faults)
    print(f"{total} inputs with seed {given.seed}, {faults} faults")
    return faults > 0


def _line(name: str, tally: Tally) -> str:
    told = dataclasses.replace(tally)
    return (
        f"{name:20}{told.inputs:9}{told.taken:9}{1000 * told.slowest_s:12.1f}  {len(told.faults)}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
