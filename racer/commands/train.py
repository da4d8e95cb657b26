"""`python -m racer train`: the service's training process, run from a terminal.

The work is done by racer.learning.worker in a process of its own, as in the service: this one
needs no JAX, prints every epoch as it comes, and ends within a second at Ctrl-C, whatever a
compiled program is doing. What was learnt until then is exported.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from racer.commands.options import assignment, read_config, shipped
from racer.errors import InvalidInputError, NotFoundError, RacerError
from racer.process import PARENT_VARIABLE

HELP = "train a policy and write its folder"
EXAMPLES = f"""\
Precedence: --set and the options, then --config, then --recipe. Keys and their defaults are in
docs/training.md. Shipped tracks: {shipped("sim/tracks")}. Airframes: {shipped("sim/airframes")}.
Recipes: {shipped("learning/recipes")}.

  python -m racer train                                  # the default model on toledo
  python -m racer train --track toledo --laps 3 --velocity-limit 12 --seed 1 --out my-policy
  python -m racer train --config training.toml --set num_envs=512 --set learning_rate=1e-3

The folder holds policy.onnx and manifest.json (what flies), policy.safetensors (weights),
epochs.jsonl (the curve), flight.npz (the last evaluation's first flight) and config.json.
"""
_OPTIONS: dict[str, tuple[type, str, str]] = {  # option: type, key of the configuration, help
    "track": (str, "track", "a shipped course or a TOML file"),
    "airframe": (str, "airframe", "a shipped vehicle or a TOML file"),
    "algorithm": (str, "algorithm", "ppo, sac or apg"),
    "epochs": (int, "epochs", "how many; each ends with an evaluation"),
    "seed": (int, "seed", "of everything random; the same seed repeats on a CPU"),
    "laps": (int, "laps", "instead of the course's own number"),
    "altitude": (float, "altitude_m", "mean height of the gates, m"),
    "velocity-limit": (float, "velocity_limit_m_s", "m/s"),
    "yaw-limit": (float, "yaw_limit_deg_s", "degrees/s"),
    "wind": (float, "wind_speed_m_s", "mean wind, m/s; gusts come with it"),
    "action-space": (str, "action_space", "velocity or ctbr (thrust and body rates)"),
    "control-hz": (float, "control_hz", "actions per second"),
}
_LOG_LEVEL = "WARNING"  # the worker's: its lines would come between ours
_WEIGHTS = "policy.safetensors"
_RESULTS = (_WEIGHTS, "policy.onnx", "manifest.json", "flight.npz", "epochs.jsonl", "config.json")
_EARLIER = ".earlier"  # behind the names of what --force replaces, until there is something new
_COLUMNS = (
    "epoch  accuracy  best lap  mean lap  gates  crashed     reward       loss   steps  seconds"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--recipe", metavar="NAME", help="settings of a known task")
    parser.add_argument("--config", type=Path, metavar="FILE", help="JSON or TOML file of keys")
    for option, (kind, key, text) in _OPTIONS.items():
        metavar = {str: "NAME", int: "N", float: "X"}[kind]
        parser.add_argument(f"--{option}", type=kind, dest=key, metavar=metavar, help=text)
    parser.add_argument("--reward", type=Path, metavar="FILE", help="a reward function in Python")
    parser.add_argument(
        "--set",
        type=assignment,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of the configuration; several times if need be",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the folder (default: DATA_DIR/runs/<a new id>)"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier training in DIR")
    parser.add_argument("--json", action="store_true", help="print the worker's lines as they are")


def run(options: argparse.Namespace) -> int:
    """Train; prints the curve and where the policy is."""
    from racer.settings import get_settings  # noqa: PLC0415

    data = get_settings().data_dir.resolve()
    config = configuration(options) | {"compile_cache": str(data / "jax_cache")}
    _make(data, mode=0o700)  # as the service does: accounts and compiled programs lie there
    folder = _prepare(options.out or data / "runs" / str(uuid4()), config, force=options.force)
    beside = sys.stderr if options.json else sys.stdout
    print(f"Training into {folder}. Compiling first; Ctrl-C ends it.", file=beside, flush=True)
    try:
        best = _train(folder, as_json=options.json)
    except KeyboardInterrupt:
        return _interrupted(folder)
    except RacerError:
        _leave_nothing(folder)
        raise
    except OSError as error:  # of epochs.jsonl: a full disk
        raise RacerError(f"Cannot write to {folder}: {error.strerror}.") from error
    if not options.json:
        print("\n" + conclusion(folder, best))
    return 0


def configuration(options: argparse.Namespace) -> dict[str, Any]:
    """The worker's configuration out of recipe, file and options, the later ones winning."""
    config: dict[str, Any] = {}
    if options.config is not None:
        config |= read_config(options.config)
    if options.recipe is not None:
        config["recipe"] = options.recipe
    for _, key, _ in _OPTIONS.values():
        if (value := getattr(options, key)) is not None:
            config[key] = value
    if options.reward is not None:
        config["reward"] = _read_reward(options.reward)
    return config | dict(options.set)


def _read_reward(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"Cannot read {path}: {error}.") from error


def _make(folder: Path, *, mode: int = 0o777) -> None:
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"Cannot write to {folder}: {error.strerror}.") from error


def _prepare(folder: Path, config: dict[str, Any], *, force: bool) -> Path:
    """The folder with the configuration; what an earlier training left is put aside."""
    if (folder / _WEIGHTS).exists() and not force:
        raise InvalidInputError(
            f"{folder} holds a training already. Choose another --out, or replace it with --force."
        )
    _make(folder)
    try:
        for name in _RESULTS:
            with suppress(FileNotFoundError):
                (folder / name).rename(folder / (name + _EARLIER))
        text = json.dumps(config, indent=2) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"Cannot write to {folder}: {error.strerror}.") from error
    return folder


def _train(folder: Path, *, as_json: bool) -> dict[str, Any]:
    """Run the worker to its end and print every epoch; the one whose policy is kept."""
    from racer.learning.report import merit_of  # noqa: PLC0415

    best: dict[str, Any] = {}
    with _worker(folder) as worker, (folder / "epochs.jsonl").open("w") as curve:
        for line in worker.stdout or ():
            if (message := _message(line)) is None:
                print(line, end="", file=sys.stderr)  # what a library had to say
                continue
            if "error" in message:
                raise _failure(message)
            if "epoch" in message:
                if not best:
                    _forget_earlier(folder)
                if not best or merit_of(message) >= merit_of(best):
                    best = message
                curve.write(line)
                curve.flush()
            if as_json:
                print(line, end="", flush=True)
            elif "epoch" in message:
                print(row(message) if message["epoch"] > 1 else f"\n{_COLUMNS}\n{row(message)}")
                sys.stdout.flush()
        code = worker.wait()
    if code != 0:
        raise RacerError(f"The training process ended early with code {code}; see above for why.")
    return best


def _message(line: str) -> dict[str, Any] | None:
    """A line of the worker's; None when it is none."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _failure(message: dict[str, Any]) -> RacerError:
    wrong_input = message.get("status") in (InvalidInputError.status, NotFoundError.status)
    return (InvalidInputError if wrong_input else RacerError)(message["error"])


@contextmanager
def _worker(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The training process: in a session of its own, so that Ctrl-C reaches us alone; it dies with
    us in any case."""
    command = [
        *(sys.executable, "-m", "racer.learning.worker"),
        *("--config", str(folder / "config.json"), "--output", str(folder)),
    ]
    environment = {"LOG_LEVEL": _LOG_LEVEL} | os.environ | {PARENT_VARIABLE: str(os.getpid())}
    with subprocess.Popen(  # noqa: S603 - our own module, with paths that the user chose
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as worker:
        try:
            yield worker
        finally:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)


def _interrupted(folder: Path) -> int:
    from racer.policy.export import export_run  # noqa: PLC0415

    if not (folder / _WEIGHTS).exists():
        _leave_nothing(folder)
        print("\nInterrupted before the first epoch: nothing was learnt.", file=sys.stderr)
        return 130
    epoch = export_run(folder).training.epoch
    print(f"\nInterrupted. {folder} holds the policy of epoch {epoch}.", file=sys.stderr)
    return 130


def _leave_nothing(folder: Path) -> None:
    """Take back what was done to the folder for a training that learnt nothing."""
    if (folder / _WEIGHTS).exists():
        return
    for name in ("config.json", "epochs.jsonl"):
        (folder / name).unlink(missing_ok=True)
    for name in _RESULTS:
        with suppress(FileNotFoundError):
            (folder / (name + _EARLIER)).rename(folder / name)
    with suppress(OSError):  # the user's own files are in it
        folder.rmdir()


def _forget_earlier(folder: Path) -> None:
    """There is a new policy: what it replaces may go."""
    for name in _RESULTS:
        (folder / (name + _EARLIER)).unlink(missing_ok=True)


def row(report: dict[str, Any]) -> str:
    """One epoch as a line under the columns' names."""
    best, mean = (report.get(f"{name}_lap_time_s") for name in ("best", "mean"))
    return (
        f"{report['epoch']:5d}  {report['accuracy']:8.3f}  {_seconds(best):>8}  "
        f"{_seconds(mean):>8}  {report['gates_passed']:5.1f}  {report['crashed']:7.3f}  "
        f"{report['reward']:9.4f}  {report['loss']:9.4f}  {_millions(report['env_steps']):>6}  "
        f"{report['seconds']:7.1f}"
    )


def conclusion(folder: Path, best: dict[str, Any]) -> str:
    """What came out, and what a person does next."""
    return (
        f"Epoch {best['epoch']} flew best and is kept: {100 * best['accuracy']:.0f} % of its "
        "evaluation flights finished the course.\n"
        f"Policy: {folder}\n"
        f"  python -m racer evaluate --policy {folder}\n"
        f"  python -m racer fly --policy {folder}"
    )


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def _millions(steps: int) -> str:
    return f"{steps / 1e6:.1f}e6"
