"""The real stack: the service, the embedded vehicle and the controller as three processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support import REPOSITORY, claim_slot, ending, wait_for


@contextmanager
def service(tmp_path: Path, compile_cache: Path, **changes: str) -> Iterator[tuple[Any, str, Path]]:
    """`python main.py` in a slot of its own; its process, host:port, and its log."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "jax_cache").symlink_to(compile_cache)
    log = tmp_path / "log"
    with claim_slot(data) as slot, log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "main.py"],
            cwd=REPOSITORY,
            env=slot | {"STACK": "embedded", "LOG_LEVEL": "INFO"} | changes,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        with process:
            try:
                yield process, f"127.0.0.1:{slot['PORT']}", log
            finally:
                process.kill()


def parts(address: str) -> dict[str, Any]:
    try:
        answer = httpx.get(f"http://{address}/readyz", timeout=5)
    except httpx.TransportError:
        return {}
    return dict(answer.json()["parts"])


def state(process: Any) -> dict[str, Any]:
    """What that service tells of its vehicle."""
    slot = psutil.Process(process.pid).environ()
    drone = int(slot["VEHICLE_INSTANCE"]) + 1
    url = f"http://127.0.0.1:{slot['PORT']}/drones/{drone}/state"
    return dict(httpx.get(url, timeout=5).json())


PROCESSES = 4  # the vehicle, the controller, its watchdog and its recorder


def family(process: Any) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(
        process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes
    )


def fly(pilot: ClientConnection, command: str) -> dict[str, Any]:
    pilot.send(command)
    while (frame := json.loads(pilot.recv(timeout=70)))["type"] != "command_result":
        assert frame == {"type": "command_sent", "command": command}
    return dict(frame)


@pytest.mark.slow
def test_killed_parts_come_back_and_the_next_command_works(
    tmp_path: Path, compile_cache: Path
) -> None:
    # A machine that starts several processes may keep the service from its heartbeat for a moment.
    with service(tmp_path, compile_cache, PILOT_SILENCE_S="2") as (process, address, log):
        wait_for("the service", lambda: parts(address).get("ros"), timeout_s=30)
        wait_for("the vehicle", lambda: parts(address)["vehicle"], timeout_s=60)
        with connect(f"ws://{address}/ws/control") as pilot:
            result = fly(pilot, "takeoff")
            assert result["ok"], result
            for name, command in (("controller", "stop"), ("vehicle", "takeoff")):
                os.kill(parts(address)["stack"]["children"][name]["pid"], signal.SIGKILL)
                died = f"The {name} died and is started again"
                wait_for(died, lambda died=died: died in log.read_text(), timeout_s=2, every_s=0.01)
                result = fly(pilot, command)
                assert result["ok"], (name, result)

        said = log.read_text()
        for name in ("controller", "vehicle"):
            assert said.count(f"The {name} died and is started again") == 1
            assert said.count(f"The {name} is back") == 1

        children = family(process)
        assert len(children) == PROCESSES
        with connect(f"ws://{address}/ws/control") as pilot:
            result = fly(pilot, "move_forward")
            assert result["ok"], result
            process.send_signal(signal.SIGSTOP)
            time.sleep(3.0)  # longer than anything that the service waits for from its children
            process.send_signal(signal.SIGCONT)
            held = {"in_air": True, "flight_mode": "HOLD"}
            wait_for("its Hold", lambda: held.items() <= state(process).items(), timeout_s=5)
            result = fly(pilot, "stop")
            assert result["ok"], result
        assert family(process) == children
        process.send_signal(signal.SIGINT)  # what Ctrl-C sends; the children get none
        assert process.wait(timeout=15) == 0
        assert gone(children)
        assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_a_controller_started_by_hand_takes_over_from_ours(
    tmp_path: Path, compile_cache: Path
) -> None:
    with service(tmp_path, compile_cache, STACK="auto") as (process, address, log):
        wait_for("the service", lambda: parts(address).get("ros"), timeout_s=30)
        wait_for("the vehicle", lambda: parts(address)["vehicle"], timeout_s=60)
        slot = psutil.Process(process.pid).environ()
        command = [sys.executable, "drone_controller.py"]
        with ending(subprocess.Popen(command, cwd=REPOSITORY, env=slot)) as controller:
            mode = "external"
            wait_for(mode, lambda: parts(address)["stack"]["mode"] == mode, timeout_s=10)
            assert parts(address)["stack"]["children"].keys() == {"vehicle"}
            wait_for("its vehicle", lambda: parts(address)["vehicle"], timeout_s=20)
            with connect(f"ws://{address}/ws/control") as pilot:
                result = fly(pilot, "takeoff")
                assert result["ok"], result
            assert controller.poll() is None
        assert "died" not in log.read_text()


@pytest.mark.slow
def test_a_service_killed_in_flight_leaves_no_process_and_the_next_one_flies(
    tmp_path: Path, compile_cache: Path
) -> None:
    with service(tmp_path, compile_cache) as (process, address, _):
        wait_for("the vehicle", lambda: parts(address).get("vehicle"), timeout_s=60)
        children, environment = family(process), psutil.Process(process.pid).environ()
        assert len(children) == PROCESSES
        with connect(f"ws://{address}/ws/control") as pilot:
            pilot.send("takeoff")
            wait_for("its climb", lambda: state(process)["in_air"], timeout_s=20)
            process.kill()
        process.wait()
        wait_for("vehicle and controller to follow", lambda: gone(children), timeout_s=3)
        command = [sys.executable, "main.py"]
        with ending(subprocess.Popen(command, cwd=REPOSITORY, env=environment)) as following:
            wait_for("the next vehicle", lambda: parts(address).get("vehicle"), timeout_s=60)
            assert not state(following)["in_air"]
            with connect(f"ws://{address}/ws/control") as pilot:
                pilot.send("takeoff")
                wait_for("its climb", lambda: state(following)["in_air"], timeout_s=20)


@pytest.mark.slow
def test_a_second_stack_says_who_has_the_vehicle(tmp_path: Path, compile_cache: Path) -> None:
    with service(tmp_path, compile_cache) as (first, address, _):
        wait_for("the children", lambda: parts(address).get("ros"), timeout_s=30)
        environment = psutil.Process(first.pid).environ() | {"PORT": "0"}
        second = subprocess.run(
            [sys.executable, "main.py"],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert second.returncode == 1
        last_line = second.stderr.strip().splitlines()[-1]
        assert last_line.startswith("Toledo Racer cannot start:")
        assert f"process {first.pid}" in last_line
        assert "STACK=external" in last_line
        assert "Traceback" not in second.stderr
        assert len(family(first)) == PROCESSES, "the first one is not disturbed"
