"""Children that die are started again, and none is left behind: with real, small processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from racer.autopilot.__main__ import parse_options
from racer.control import child as child_module
from racer.control import supervisor as supervisor_module
from racer.control.child import Child
from racer.control.child_log import MAX_LINE, MAX_LINES_PER_S
from racer.control.host_lock import HostLock, check_ports
from racer.control.service import ControlService
from racer.control.supervisor import Supervisor, Surroundings, vehicle_program
from racer.errors import ConfigurationError
from racer.settings import Settings
from tests.control.controller_peer import peer_thread
from tests.control.rig import ASLEEP, children, peer_program, run, script, slot_settings, until
from tests.support import REPOSITORY, ending, wait_for


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with slot_settings(tmp_path, stack="embedded") as settings:
        yield settings


def alone(**changes: Any) -> Surroundings:
    """Nobody else is there, unless `changes` says so."""
    asked: dict[str, Any] = {
        "controller_in_graph": lambda: False,
        "vehicle_connected": lambda: False,
        "on_controller_death": lambda: None,
        "on_vehicle_death": lambda: None,
    }
    return Surroundings(**(asked | changes))


def sleepers(settings: Settings, **changes: Any) -> Supervisor:
    """A supervisor whose two children do nothing until they are told to end."""
    return Supervisor(
        settings,
        alone(**changes),
        vehicle=script("vehicle", ASLEEP),
        controller=script("controller", ASLEEP),
    )


def pid_of(supervisor: Supervisor, name: str) -> int | None:
    pid: int | None = supervisor.status()["children"].get(name, {}).get("pid")
    return pid


def words(logs: list[Any]) -> list[str]:
    return [entry["event"] for entry in logs]


def test_the_vehicle_lives_in_the_air_that_the_settings_say(settings: Settings) -> None:
    program = vehicle_program(
        settings.model_copy(
            update={
                "vehicle_wind_east": -3.0,
                "vehicle_wind_north": 1.5,
                "vehicle_seed": 7,
                "vehicle_noise": False,
                "speed_factor": 2.0,
            }
        )
    )
    options = parse_options(list(program.arguments[2:]))
    assert options.wind == (-3.0, 1.5)
    assert (options.seed, options.noise, options.speed_factor) == (7, False, 2.0)
    assert parse_options(list(vehicle_program(settings).arguments[2:])).noise


def test_a_killed_child_comes_back_and_the_log_says_so_once(settings: Settings) -> None:
    async def story() -> None:
        deaths = []
        supervisor = sleepers(settings, on_controller_death=lambda: deaths.append("controller"))
        with capture_logs() as logs:
            await supervisor.start()
            pid = await until("the first start", lambda: pid_of(supervisor, "controller"))
            vehicle = await until("the vehicle", lambda: pid_of(supervisor, "vehicle"))
            os.kill(pid, signal.SIGKILL)
            await until("the notice of its death", lambda: deaths)
            again = await until("the second start", lambda: pid_of(supervisor, "controller"))
            assert again != pid
            await until("back", lambda: "The controller is back" in words(logs))
            assert words(logs).count("The controller died and is started again") == 1
            assert words(logs).count("The controller is back") == 1
            assert pid_of(supervisor, "vehicle") == vehicle, "the other one was left alone"
            died = next(entry for entry in logs if "died" in entry["event"])
            assert died["ending"] == "signal SIGKILL"
            await supervisor.stop()
        assert deaths == ["controller"], "stopping is no death"
        assert children() == []

    run(story())


def test_one_that_dies_at_once_is_tried_ever_more_slowly_and_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_module, "MAX_DELAY_S", 0.4)
    waits: list[float] = []
    real_sleep = asyncio.sleep

    async def noting_sleep(delay: float) -> None:
        waits.append(delay)
        await real_sleep(delay)

    async def story() -> None:
        child = Child(script("vehicle", "import sys; sys.exit('no rotor')"), on_death=lambda: None)
        with capture_logs() as logs:
            monkeypatch.setattr(child_module.asyncio, "sleep", noting_sleep)
            child.start()
            while child.status()["restarts"] < 4:
                await real_sleep(0.02)
            await child.stop()
        assert waits[:4] == [0.2, 0.4, 0.4, 0.4]
        assert words(logs).count("The vehicle died and is started again") == 1
        died = next(entry for entry in logs if "died" in entry["event"])
        assert died["ending"] == "exit code 1"
        assert died["last_words"] == "no rotor"
        assert child.patience_s == 0.0, "commands do not wait for one that dies again and again"

    run(story())


def test_stopping_ends_both_at_once_and_kills_the_deaf(settings: Settings) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"
    deaf += "; import subprocess, sys; subprocess.Popen(['sleep', '60'])"
    deaf += "\nwhile True: signal.pause()"

    async def story() -> None:
        supervisor = Supervisor(
            settings,
            alone(),
            vehicle=script("vehicle", deaf),
            controller=script("controller", deaf),
        )
        await supervisor.start()
        for name in ("vehicle", "controller"):
            await until(
                f"{name} to be deaf",
                lambda name=name: (
                    supervisor.status()["children"][name]["last_words"] == "deaf"
                    and len(children()) == 4
                ),
            )
        start = time.perf_counter()
        await supervisor.stop()
        assert 0.9 < time.perf_counter() - start < 1.8, "one second for both, not one each"
        await until("no grandchild either", lambda: children() == [])

    run(story())


def test_stopping_in_the_middle_of_a_start_leaves_nothing(settings: Settings) -> None:
    async def story() -> None:
        for delay in (0.0, 0.001, 0.01, 0.05):
            supervisor = sleepers(settings)
            await supervisor.start()
            await asyncio.sleep(delay)
            await supervisor.stop()
            assert children() == []

    run(story())


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    source = """
import asyncio, sys
from pathlib import Path
from tests.control.rig import ASLEEP, script
from racer.control.child import Child
async def main():
    child = Child(script("vehicle", ASLEEP), on_death=lambda: None)
    child.start()
    while not child.status()["pid"]:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)  # until it has asked to die with us
    print(child.status()["pid"], flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", source], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    with ending(parent):
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        parent.kill()
    wait_for("the child to follow", lambda: not psutil.pid_exists(child), timeout_s=2.0)


def test_what_children_say_is_in_our_log_with_their_name_and_bounded() -> None:
    says = """
import json, sys
print(json.dumps({"event": "hello", "level": "warning", "timestamp": "x", "volts": 12}))
print("plain", file=sys.stderr)
print("x" * 100_000)
print('{"broken')
for number in range(1000): print("line", number)
sys.stdout.flush()
import time; time.sleep(1.1)
print("after", end="")
"""

    async def story() -> None:
        ended = asyncio.Event()
        child = Child(script("vehicle", says), on_death=ended.set)
        with capture_logs() as logs:
            child.start()
            await asyncio.wait_for(ended.wait(), 10)
            await child.stop()
        hello = next(entry for entry in logs if entry["event"] == "vehicle | hello")
        assert hello == {"event": "vehicle | hello", "log_level": "warning", "volts": 12}
        said = words(logs)
        assert "vehicle | plain" in said
        assert 'vehicle | {"broken' in said
        assert max(len(line) for line in said) < MAX_LINE + 20
        assert 50 < sum("| line" in line for line in said) <= 2 * MAX_LINES_PER_S
        assert any("lines left out" in line for line in said)
        assert "vehicle | after" in said

    run(story())


def test_a_held_port_stops_an_embedded_start_and_names_the_holder(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "LOOK_S", 0.2)
    port = 14580 + settings.vehicle_instance
    held = "import socket, sys, signal; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
    held += f"s.bind(('127.0.0.1', {port})); print('held', flush=True); signal.pause()"
    holder = subprocess.Popen([sys.executable, "-c", held], stdout=subprocess.PIPE)

    async def story() -> None:
        with pytest.raises(ConfigurationError) as refused:
            async with ControlService(settings):
                pytest.fail("it started beside the other one")
        message = str(refused.value)
        for part in (str(port), str(holder.pid), sys.executable, "STACK=external"):
            assert part in message
        assert "\n" not in message
        assert children() == []

    with ending(holder):
        assert holder.stdout is not None
        holder.stdout.readline()
        run(story())


def test_auto_reports_a_held_port_and_starts_when_it_is_free(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "LOOK_S", 0.2)
    monkeypatch.setattr(supervisor_module, "RETRY_S", 0.2)
    settings = settings.model_copy(update={"stack": "auto"})

    async def story() -> None:
        supervisor = sleepers(settings)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder, capture_logs() as logs:
            holder.bind(("0.0.0.0", 14540 + settings.vehicle_instance))  # noqa: S104
            await supervisor.start()
            assert supervisor.mode == "looking"
            await until("the report", lambda: supervisor.mode == "waiting")
            assert str(14540 + settings.vehicle_instance) in supervisor.message
            await asyncio.sleep(0.6)
            warnings = [entry for entry in logs if entry["log_level"] == "warning"]
            assert len(warnings) == 1, "said once, not at each attempt"
        await until("the start", lambda: pid_of(supervisor, "vehicle"))
        assert supervisor.mode == "embedded"
        await supervisor.stop()

    run(story())


def test_of_two_stacks_one_runs_the_vehicle_and_the_other_says_who(settings: Settings) -> None:
    async def story() -> None:
        first, second = sleepers(settings), sleepers(settings)
        await first.start()
        with pytest.raises(ConfigurationError) as refused:
            await second.start()
        assert str(os.getpid()) in str(refused.value)
        assert "VEHICLE_INSTANCE" in str(refused.value)
        await second.stop()
        assert pid_of(first, "vehicle"), "the first one is not disturbed"
        await first.stop()
        third = sleepers(settings)
        await third.start()
        await third.stop()

    run(story())


def test_the_right_to_a_vehicle_ends_with_its_process(settings: Settings) -> None:
    instance = settings.vehicle_instance
    source = "import asyncio, time; from racer.control.host_lock import HostLock; "
    source += f"lock = HostLock({instance}); asyncio.run(lock.acquire()); print(1, flush=True); "
    source += "time.sleep(60)"

    async def story() -> None:
        lock = HostLock(instance)
        await lock.acquire()
        await lock.acquire()  # asking twice is fine
        lock.release()
        await check_ports(14540 + instance)

    holder = subprocess.Popen([sys.executable, "-c", source], cwd=REPOSITORY, stdout=-1)
    with ending(holder):
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ConfigurationError, match=f"process {holder.pid}"):
            run(HostLock(instance).acquire())
    run(story())


def test_finding_out_who_holds_a_port_does_not_hold_up_the_event_loop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanners = set()
    scan = psutil.net_connections

    def noting(kind: str) -> Any:
        scanners.add(threading.current_thread())
        return scan(kind=kind)

    monkeypatch.setattr(psutil, "net_connections", noting)

    async def story() -> None:
        first = HostLock(settings.vehicle_instance)
        await first.acquire()
        with pytest.raises(ConfigurationError, match="already run"):
            await HostLock(settings.vehicle_instance).acquire()
        first.release()
        port = 14540 + settings.vehicle_instance
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.bind(("0.0.0.0", port))  # noqa: S104
            with pytest.raises(ConfigurationError, match=f"process {os.getpid()}"):
                await check_ports(port)

    run(story())
    assert scanners
    assert threading.main_thread() not in scanners


def test_a_watchman_that_fails_says_so(settings: Settings) -> None:
    def broken(*_: Any) -> bool:
        raise OSError("no more file descriptors")

    async def story() -> None:
        supervisor = sleepers(
            settings.model_copy(update={"stack": "auto"}), controller_in_graph=broken
        )
        child = Child(script("vehicle", "pass"), on_death=broken)
        with capture_logs() as logs:
            await supervisor.start()
            child.start()
            await until(
                "both to be told",
                lambda: (
                    {
                        "The decision about the stack failed",
                        "The vehicle is not kept alive any more",
                    }
                    <= set(words(logs))
                ),
            )
        assert "no more file descriptors" in supervisor.status()["message"]
        await child.stop()
        await supervisor.stop()

    run(story())


def test_stopping_ends_what_outlives_the_child_that_started_it() -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    deaf += "print('deaf', flush=True); time.sleep(60)"
    starts = f"import subprocess, sys, signal; subprocess.Popen([sys.executable, '-c', {deaf!r}]); "
    starts += "signal.pause()"

    async def story() -> None:
        child = Child(script("vehicle", starts), on_death=lambda: None)
        child.start()
        await until("the grandchild", lambda: child.status()["last_words"] == "deaf")
        started = children()
        assert len(started) == 2
        await child.stop()
        await until("its end", lambda: not any(process.is_running() for process in started))

    run(story())


def test_auto_uses_a_controller_that_runs_and_gives_it_a_vehicle_if_it_has_none(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "NO_VEHICLE_S", 0.5)
    settings = settings.model_copy(update={"stack": "auto"})
    sleeping = {
        "vehicle": script("vehicle", ASLEEP),
        "controller": script("controller", ASLEEP),
    }

    async def story(with_vehicle: bool) -> None:
        async with ControlService(settings, **sleeping) as control:
            stack = await until(
                "the running controller to be found",
                lambda: (stack := control.status()["stack"])["mode"] == "external" and stack,
            )
            if with_vehicle:
                await until("the vehicle", lambda: control.status()["vehicle"])
                await asyncio.sleep(0.7)
                assert control.status()["stack"]["children"] == {}
            else:
                await until("ours", lambda: control.status()["stack"]["children"])
                stack = control.status()["stack"]
                assert stack["children"].keys() == {"vehicle"}
                assert "STACK=external" in stack["message"]
        assert children() == []

    for with_vehicle in (True, False):
        with peer_thread(settings, with_vehicle=with_vehicle):
            run(story(with_vehicle))


def test_auto_is_ready_at_once_and_starts_both_after_it_has_looked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "LOOK_S", 0.5)
    settings = settings.model_copy(update={"stack": "auto"})

    async def story() -> None:
        start = time.perf_counter()
        control = ControlService(
            settings, vehicle=script("vehicle", ASLEEP), controller=peer_program(settings)
        )
        async with control:
            assert time.perf_counter() - start < 0.5
            assert control.status()["stack"]["mode"] == "looking"
            result = await control.send_command("takeoff")  # waits for what is being started
            assert result.ok is True
            assert control.status()["stack"]["mode"] == "embedded"

    run(story())


def test_after_a_kill_the_next_command_works_and_one_that_may_fly_is_not_repeated(
    settings: Settings,
) -> None:
    async def story() -> None:
        control = ControlService(
            settings, vehicle=script("vehicle", ASLEEP), controller=peer_program(settings)
        )
        async with control:
            assert (await control.send_command("takeoff")).ok
            for _ in range(2):
                pid = control.status()["stack"]["children"]["controller"]["pid"]
                os.kill(pid, signal.SIGKILL)
                assert (await control.send_command("stop")).message == "did stop"
            asking = asyncio.create_task(control.send_command("turn_left"))  # answered late
            await asyncio.sleep(0.3)
            pid = control.status()["stack"]["children"]["controller"]["pid"]
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(Exception, match="ended before it answered"):
                await asking

    run(story())
