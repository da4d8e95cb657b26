"""A real vehicle process and a raw MAVLink peer: acknowledgements, streams, failsafe, ports."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.autopilot.process import START_S, Peer, running_vehicle
from tests.support import REPOSITORY, claim_slot

HOLD, TAKEOFF, LAND, OFFBOARD = 50593792, 33816576, 100925440, 393216
RETURN = 84148224
ACCEPTED, REJECTED, DENIED, UNSUPPORTED = range(4)
ARM, TAKE_OFF, LAND_NOW, SET_MODE = 400, 22, 21, 176
SPEED = 3.0


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """A vehicle in real time that no test of this module flies away."""
    with running_vehicle(tmp_path_factory.mktemp("ground")) as (instance, _):
        peer = Peer(instance)
        yield peer
        peer.close()


def vehicle_seconds(heard: list[Any]) -> float:
    """The time that passed for the vehicle: exact however busy this machine is."""
    stamps = [m.time_boot_ms for m in heard if m.get_type() == "LOCAL_POSITION_NED"]
    return float(stamps[-1] - stamps[0]) / 1e3


def test_acknowledgements_and_modes_are_px4s(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The matrix of acks1.jsonl in its order, then the loss of setpoints, then a landing."""
    folder = tmp_path_factory.mktemp("matrix")
    with running_vehicle(folder, "--speed-factor", str(SPEED)) as (instance, _):
        peer = Peer(instance)
        assert peer.command(ARM, 1) == [REJECTED]
        peer.heartbeat(base_mode=29, custom_mode=HOLD, system_status=3)
        assert peer.command(TAKE_OFF) == [ACCEPTED]
        peer.heartbeat(base_mode=29, custom_mode=TAKEOFF, system_status=3)
        assert peer.command(SET_MODE, 129, 6, 0, acks=2) == [ACCEPTED, ACCEPTED]
        peer.heartbeat(base_mode=1, custom_mode=OFFBOARD, system_status=0)
        assert peer.command(SET_MODE, 129, 99, 0, acks=2) == [ACCEPTED, REJECTED]
        assert peer.command(ARM, 1) == [REJECTED]
        assert peer.command(ARM, 0) == [ACCEPTED]
        assert peer.command(SET_MODE, 129, 4, 3, acks=2) == [ACCEPTED, ACCEPTED]
        peer.heartbeat(base_mode=29, custom_mode=HOLD)
        assert peer.command(ARM, 1) == [ACCEPTED]
        assert peer.command(SET_MODE, 129, 6, 0, acks=2) == [ACCEPTED, REJECTED]
        peer.heartbeat(base_mode=157, custom_mode=HOLD, system_status=4)
        assert peer.command(TAKE_OFF) == [ACCEPTED]
        peer.heartbeat(base_mode=157, custom_mode=TAKEOFF)
        peer.heartbeat(base_mode=157, custom_mode=HOLD)
        assert peer.command(SET_MODE, 129, 6, 0, acks=2) == [ACCEPTED, REJECTED]
        peer.send_velocity()
        assert peer.command(SET_MODE, 129, 6, 0, acks=2) == [ACCEPTED, ACCEPTED]
        peer.heartbeat(base_mode=145, custom_mode=OFFBOARD, repeat=peer.send_velocity)
        peer.heartbeat(base_mode=157, custom_mode=RETURN, system_status=5)
        peer.heartbeat(base_mode=145, custom_mode=OFFBOARD, repeat=peer.send_velocity)
        assert peer.command(ARM, 0) == [REJECTED]
        assert peer.command(LAND_NOW) == [ACCEPTED]
        peer.heartbeat(base_mode=157, custom_mode=LAND, system_status=4)
        peer.heartbeat(base_mode=1, custom_mode=OFFBOARD, system_status=0)
        texts = peer.texts()
        peer.close()
    expected = [
        "Arming denied: Resolve system health failures first\t",
        "Preflight Fail: heading estimate not stable",
        "Unsupported main mode\t",
        "Arming denied: Resolve system health failures first\t",
        "Armed by external command\t",
        "Switching to Offboard is currently not available\t",
        "Using default takeoff altitude: 2.5 m\t",
        "Takeoff detected\t",
        "Switching to Offboard is currently not available\t",
        "Failsafe activated\t",
        "Disarming denied: not landed\t",
        "Landing at current position\t",
        "Landing detected\t",
        "Disarmed by landing\t",
    ]
    assert [text for text in texts if not text.startswith("RTL:")] == expected


def test_streams_have_px4s_rates(ground: Peer) -> None:
    heard = ground.listen(4.0)
    counts = Counter(message.get_type() for message in heard)
    seconds = vehicle_seconds(heard)
    expected = {
        "ATTITUDE": 100,
        "ATTITUDE_QUATERNION": 50,
        "GLOBAL_POSITION_INT": 50,
        "HIGHRES_IMU": 50,
        "LOCAL_POSITION_NED": 30,
        "ODOMETRY": 30,
        "ATTITUDE_TARGET": 10,
        "VFR_HUD": 10,
        "GPS_RAW_INT": 8,
        "SYS_STATUS": 5,
        "EXTENDED_SYS_STATE": 5,
        "HEARTBEAT": 1,
        "BATTERY_STATUS": 0.5,
        "HOME_POSITION": 0.5,
    }
    for name, hz in expected.items():
        assert counts[name] == pytest.approx(hz * seconds, rel=0.1, abs=1.5), name


def test_intervals_can_be_set_read_and_reset(ground: Peer) -> None:
    assert ground.command(511, 30, 20_000) == [ACCEPTED]
    assert ground.command(510, 30) == [ACCEPTED]
    answer = next(m for m in reversed(ground.heard) if m.get_type() == "MESSAGE_INTERVAL")
    assert (answer.message_id, answer.interval_us) == (30, 20_000)
    heard = ground.listen(1.0)
    count = sum(m.get_type() == "ATTITUDE" for m in heard)
    assert count / vehicle_seconds(heard) == pytest.approx(50, rel=0.1)
    assert ground.command(511, 30, -1) == [ACCEPTED]
    ground.listen(0.1)
    assert not [m for m in ground.listen(0.5) if m.get_type() == "ATTITUDE"]
    assert ground.command(511, 30, 0) == [ACCEPTED]
    assert ground.command(511, 9999, 1000) == [DENIED]


def test_what_mavsdk_asks_for_when_it_connects(ground: Peer) -> None:
    version = ground.request(148)
    assert version.flight_sw_version == 17891392
    home = ground.request(242)
    assert (home.latitude, home.longitude, home.altitude) == (473977420, 85455940, 489400)
    assert ground.command(512, 9999) == [DENIED]
    assert ground.command(31000) == [UNSUPPORTED]


def test_parameters_are_read_set_listed_and_unknown_ones_refused(ground: Peer) -> None:
    mav = ground.link.mav

    def value_of(name: str) -> tuple[float, int]:
        start = len(ground.heard)
        ground.until(lambda m: m.get_type() == "PARAM_VALUE" and m.param_id == name, 3.0)
        message = next(m for m in ground.heard[start:] if m.get_type() == "PARAM_VALUE")
        return message.param_value, message.param_type

    def integer(value: int) -> float:
        return float(struct.unpack("<f", struct.pack("<i", value))[0])

    mav.param_request_read_send(ground.system, 1, b"COM_OF_LOSS_T", -1)
    assert value_of("COM_OF_LOSS_T") == (1.0, 9)
    mav.param_set_send(ground.system, 1, b"COM_OBL_RC_ACT", integer(5), 6)
    assert value_of("COM_OBL_RC_ACT") == (integer(5), 6)
    mav.param_request_read_send(ground.system, 1, b"NO_SUCH_PARAM", -1)
    error = ground.until(lambda m: m.get_type() == "PARAM_ERROR", 3.0)
    assert (error.param_id, error.error) == ("NO_SUCH_PARAM", 1)
    mav.param_set_send(ground.system, 1, b"COM_OBL_RC_ACT", 5.0, 9)
    error = ground.until(lambda m: m.get_type() == "PARAM_ERROR", 3.0)
    assert (error.param_id, error.error) == ("COM_OBL_RC_ACT", 7)
    mav.param_set_send(ground.system, 1, b"MPC_XY_VEL_MAX", -1.0, 9)
    error = ground.until(lambda m: m.get_type() == "PARAM_ERROR", 3.0)
    assert (error.param_id, error.error) == ("MPC_XY_VEL_MAX", 2)
    start = len(ground.heard)
    mav.param_request_list_send(ground.system, 1)
    last = ground.until(
        lambda m: m.get_type() == "PARAM_VALUE" and m.param_index == m.param_count - 1, 3.0
    )
    listed = {m.param_id for m in ground.heard[start:] if m.get_type() == "PARAM_VALUE"}
    assert len(listed) == last.param_count


def test_other_protocols_are_answered_or_refused(ground: Peer) -> None:
    mav, system = ground.link.mav, ground.system
    mav.mission_request_list_send(system, 1)
    assert ground.until(lambda m: m.get_type() == "MISSION_COUNT", 3.0).count == 0
    mav.mission_count_send(system, 1, 3)
    assert ground.until(lambda m: m.get_type() == "MISSION_ACK", 3.0).type == 3
    mav.log_request_list_send(system, 1, 0, 0xFFFF)
    assert ground.until(lambda m: m.get_type() == "LOG_ENTRY", 3.0).num_logs == 0
    mav.file_transfer_protocol_send(0, system, 1, [7, 0, 0, 3] + [0] * 247)
    reply = ground.until(lambda m: m.get_type() == "FILE_TRANSFER_PROTOCOL", 3.0).payload
    assert (reply[0], reply[3], reply[5], reply[12]) == (8, 129, 3, 7)
    mav.timesync_send(0, 12345)
    assert ground.until(lambda m: m.get_type() == "TIMESYNC" and m.tc1, 3.0).ts1 == 12345
    mav.ping_send(99, 7, 0, 0)
    pong = ground.until(lambda m: m.get_type() == "PING" and m.target_system == 245, 3.0)
    assert (pong.time_usec, pong.seq) == (99, 7)


def test_messages_for_others_and_garbage_change_nothing(ground: Peer) -> None:
    ground.link.mav.command_long_send(ground.system + 1, 1, SET_MODE, 0, 129, 6, 0, 0, 0, 0, 0)
    ground.link.mav.command_long_send(ground.system, 42, SET_MODE, 0, 129, 6, 0, 0, 0, 0, 0)
    for junk in (b"\xfd" * 300, b"\xfd\xff\x00", os.urandom(5000), b""):
        ground.link.write(junk)
    heard = ground.listen(1.2)
    assert not [m for m in heard if m.get_type() == "COMMAND_ACK"]
    modes = [m.custom_mode for m in heard if m.get_type() == "HEARTBEAT"]
    assert modes in ([HOLD], [HOLD, HOLD])  # once a second, and 1.2 s hold one or two


def test_the_ground_link_is_quiet_until_a_station_speaks(ground: Peer) -> None:
    station = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with station:
        station.bind(("127.0.0.1", 0))
        station.settimeout(3.0)
        ground.link.mav.srcSystem = 255
        heartbeat = ground.link.mav.heartbeat_encode(6, 8, 0, 0, 0)
        station.sendto(heartbeat.pack(ground.link.mav), ("127.0.0.1", 18570 + ground.system - 1))
        ground.link.mav.srcSystem = 245
        names = set()
        deadline = time.monotonic() + 3.0
        while not {"HEARTBEAT", "ATTITUDE", "SYS_STATUS"} <= names:
            assert time.monotonic() < deadline, names
            for message in ground.link.mav.parse_buffer(station.recv(65536)) or []:
                names.add(message.get_type())


def test_a_taken_port_is_named_with_its_holder(tmp_path: Path) -> None:
    with claim_slot(tmp_path) as environment, socket.socket(type=socket.SOCK_DGRAM) as holder:
        instance = environment["VEHICLE_INSTANCE"]
        port = 14580 + int(instance)
        holder.bind(("127.0.0.1", port))
        started = time.monotonic()
        result = subprocess.run(
            [sys.executable, "-m", "racer.autopilot", "--instance", instance],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_S,
        )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert f"UDP port {port} is taken by pid {os.getpid()} (" in result.stderr
    assert time.monotonic() - started < 10.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_that_it_is_up_and_ends_at_a_signal(
    tmp_path_factory: pytest.TempPathFactory, number: signal.Signals
) -> None:
    with running_vehicle(tmp_path_factory.mktemp("end")) as (instance, process):
        assert process.stderr is not None
        line = process.stderr.readline()
        ports = f"UDP {14540 + instance} from {14580 + instance}"
        assert f"vehicle {instance + 1} is up: {ports}" in line
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(5.0) == 0
        assert time.monotonic() - started < 1.0
        assert process.stderr.read() == ""


def test_time_lost_in_a_stall_is_dropped_and_reported(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running_vehicle(tmp_path_factory.mktemp("stall")) as (instance, process):
        peer = Peer(instance)
        before = peer.request(32).time_boot_ms
        process.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        time.sleep(1.5)  # the stall itself
        process.send_signal(signal.SIGCONT)
        peer.listen(0.2)  # what was queued
        lost = time.monotonic() - started - (peer.request(32).time_boot_ms - before) / 1e3
        assert 1.0 < lost < 1.8
        peer.listen(1.0)
        peer.close()
        process.terminate()
        assert process.stderr is not None
        assert process.stderr.read().count("the vehicle lags behind real time") == 1


@pytest.mark.parametrize(
    "arguments", [["--instance", "100"], ["--wind", "1"], ["--wind=nan,0"], ["--speed-factor", "0"]]
)
def test_bad_arguments_are_explained(arguments: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "racer.autopilot", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_S,
    )
    assert result.returncode == 2
    assert arguments[0].split("=", maxsplit=1)[0] in result.stderr
