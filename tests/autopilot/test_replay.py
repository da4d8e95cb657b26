"""What a real PX4 answered, the embedded vehicle answers: command by command, in the same order.

Where it does not, `DIFFERENCES` says so, and docs/vehicle.md why. A difference that is gone fails
these tests as one that is new does.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any, Final

import pytest

from racer.autopilot.modes import Mode
from tests.autopilot.replay import PREARM_CHECK, Event, Listener, Player, lines, playing

FROM_VEHICLE: Final = "14580->14540"
VERDICT_S: Final = 0.01  # the commander's answer after the link's
OFFBOARD_LOST_S: Final = (1.0, 1.4)  # the failsafe's text after the last setpoint, as measured
HOVER_RATES: Final = {
    "time_boot_ms": 0,
    "type_mask": 0x80,
    "q": [1.0, 0.0, 0.0, 0.0],
    "body_roll_rate": 0.0,
    "body_pitch_rate": 0.0,
    "body_yaw_rate": 0.0,
    "thrust": 0.5,
}
STANDING: Final = {"time_boot_ms": 0, "coordinate_frame": 1, "type_mask": 1479} | dict.fromkeys(
    ("x", "y", "z", "vx", "vy", "vz", "afx", "afy", "afz", "yaw", "yaw_rate"), 0.0
)
NORTHWARDS: Final = STANDING | {"vx": 1.0}
CLIMBING: Final = STANDING | {"vz": -0.5}  # it sinks while it returns, twelve times
# The commands that the recorded program named.
COMMANDS: Final[dict[str, tuple[float, ...]]] = {
    "arm": (400, 1.0),
    "arm_again": (400, 1.0),
    "arm_at_once(not ready)": (400, 1.0),
    "arm_in_takeoff_or_hold": (400, 1.0),
    "disarm_again": (400, 0.0),
    "disarm_in_air": (400, 0.0),
    "disarm_on_ground": (400, 0.0),
    "hold": (176, 129.0, 4.0, 3.0),
    "hold_mode": (176, 129.0, 4.0, 3.0),
    "land": (21,),
    "mode_unknown_main_99": (176, 129.0, 99.0, 0.0),
    "offboard_after_1s_setpoints": (176, 129.0, 6.0, 0.0),
    "offboard_after_20ms_setpoints": (176, 129.0, 6.0, 0.0),
    "offboard_again": (176, 129.0, 6.0, 0.0),
    "offboard_armed_no_setpoints": (176, 129.0, 6.0, 0.0),
    "offboard_in_air_no_setpoints": (176, 129.0, 6.0, 0.0),
    "offboard_mode_disarmed_no_setpoints": (176, 129.0, 6.0, 0.0),
    "takeoff": (22,),
    "takeoff_armed": (22,),
    "takeoff_disarmed": (22,),
}
RESULTS: Final = {"MAV_RESULT_ACCEPTED": 0, "MAV_RESULT_TEMPORARILY_REJECTED": 1}
# What it sent between its marks in acks1: from, until (s), message, fields.
SETPOINTS: Final[tuple[tuple[float, float, str, dict[str, Any]], ...]] = (
    (26.057, 31.082, "SET_POSITION_TARGET_LOCAL_NED", NORTHWARDS),
    (37.084, 41.085, "SET_POSITION_TARGET_LOCAL_NED", STANDING),
    (41.086, 61.29, "SET_ATTITUDE_TARGET", HOVER_RATES),
)
# Its simulated board has no switch; its filtered charge needs seconds to see the new battery.
NO_SHUTDOWN: Final = {("TEXT", 2, "System does not support shutdown\t"): True}
REFILLED: Final = {
    ("TEXT", 2, "Low battery\t"): True,
    ("SYS_STATUS", PREARM_CHECK): True,
}
# Half a second between arming and takeoff, in which a heartbeat comes or does not.
BRIEF: Final = {("MODE", 157, 50593792, 4): True}
# (file, event): True if only PX4 says it, False if only the embedded vehicle does.
DIFFERENCES: Final[dict[str, dict[tuple[Any, ...], bool]]] = {
    "flight1": {
        ("TEXT", 6, "[logger] ./log/2026-11-21/01_44_41.ulg\t"): True,
        ("PARAM", "CAL_BARO0_OFF"): True,
        ("COMMAND_LONG",): True,  # its gimbal's
        ("TIME_ESTIMATE_TO_TARGET",): True,
    },
    "acks1": {("TEXT", 6, "[logger] ./log/2026-11-21/01_47_30.ulg\t"): True},
    "battery_warn": NO_SHUTDOWN | REFILLED | BRIEF,
    "battery_land": NO_SHUTDOWN | REFILLED | BRIEF,
    "battery_return": NO_SHUTDOWN | REFILLED | BRIEF,
    "battery_override": NO_SHUTDOWN | REFILLED | BRIEF,
    "battery_deny": {("MODE", 29, 50593792, 3): True},  # as brief, before arming
    "companions": {},
}


@pytest.fixture
def player(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    with playing(tmp_path_factory.mktemp("replay")) as player:
        yield player


def differences(theirs: list[Event], ours: list[Event]) -> dict[tuple[Any, ...], bool]:
    """Events that only one side has; each kind in its own order, since the moment of a heartbeat
    or of a text between two answers is nobody's promise."""
    found: dict[tuple[Any, ...], bool] = {}
    for kind in {_kind(event) for event in (*theirs, *ours)}:
        a, b = ([e.what for e in side if _kind(e) == kind] for side in (theirs, ours))
        for tag, i, k, j, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
            if tag != "equal":
                found |= dict.fromkeys(a[i:k], True) | dict.fromkeys(b[j:m], False)
    return found


def _kind(event: Event) -> tuple[Any, ...]:
    """PX4's link answers what it can by itself milliseconds before its commander answers."""
    return event.what[: 2 if event.what[0] == "ACK" else 1]


def test_a_flight_of_mavsdk(player: Player) -> None:
    """Connecting, arming, taking off, Offboard by velocities and body rates, Hold and landing."""
    px4 = Listener()
    script = sorted(lines("flight1"), key=lambda line: line["t"])
    for line in script:
        if line["dir"] == FROM_VEHICLE:
            px4.hear(line["t"], line["msg"], line)
            continue
        player.run_until(line["t"])
        name = line["msg"]
        if line["note"] == "first":
            player.repeat(name, line)
        elif name == "SET_ATTITUDE_TARGET":  # a hundred different ones a second, not written down
            player.repeat(name, HOVER_RATES)
        elif line["note"] == "msg":
            if line.get("command") == 176 and line["param2"] == 4.0:
                player.stop_repeating("setpoint")
            before = len(player.listener.events)
            player.send(name, line)
            assert acknowledged(player, before) == [line["command"]]
        elif name == "HEARTBEAT":
            player.repeat(name, line)
    unrecorded = ("SYS_STATUS", "BATTERY_STATUS")
    ours = [event for event in player.listener.events if event.what[0] not in unrecorded]
    assert differences(px4.events, ours) == DIFFERENCES["flight1"]


@pytest.mark.parametrize(
    "name",
    [
        "battery_warn",
        "battery_land",
        "battery_return",
        "battery_override",
        "battery_deny",
        "companions",
    ],
)
def test_a_recorded_failure(player: Player, name: str) -> None:
    """Batteries that run empty by each COM_LOW_BAT_ACT, one too low to arm, silent companions."""
    px4 = Listener()
    for line in lines(name):
        if line["dir"] == FROM_VEHICLE:
            px4.hear(line["t"], line["msg"], line)
            continue
        player.run_until(line["t"])
        if line["note"] == "first":
            player.repeat(line["msg"], line)
        elif line["note"] == "last":
            player.stop_repeating(line["msg"])
        else:
            player.send(line["msg"], line)
    player.run_until(max(line["t"] for line in lines(name)))
    ours = [event for event in player.listener.events if event.what[0] != "PARAM"]
    assert differences(px4.events, ours) == DIFFERENCES[name]


def test_the_matrix_of_commands(player: Player) -> None:
    """Commands that a pilot should not give, and the loss of velocities and of body rates."""
    px4, since = Listener(), 0.0
    for line in lines("acks1"):
        t, kind = line["t"], line["k"]
        for start, stop, message, fields in SETPOINTS:
            if since <= start < t:
                player.run_until(start)
                player.repeat(message, fields)
            if since <= stop < t:
                player.run_until(stop)
                player.stop_repeating("setpoint")
        since = t
        if kind == "cmd":
            player.run_until(t - line["acks"][0]["dt_ms"] / 1e3)
            command, *params = COMMANDS[line["name"]]
            before = len(player.listener.events)
            player.send("COMMAND_LONG", command_long(command, *params))
            player.run_until(t + VERDICT_S)
            results = [e.what[2] for e in player.listener.events[before:] if e.what[0] == "ACK"]
            expected = [RESULTS[ack["result"]] for ack in line["acks"]]
            assert results[: len(expected)] == expected, line["name"]
        player.run_until(t)
        if kind == "hb":
            mode = {"base_mode": line["base"], "custom_mode": line["custom"]}
            px4.hear(t, "HEARTBEAT", mode | {"system_status": line["st"]})
        elif kind == "text":
            px4.hear_piece(t, line["sev"], line["text"])
    ours = [event for event in player.listener.events if event.what[0] in ("MODE", "TEXT")]
    assert differences(px4.events, ours) == DIFFERENCES["acks1"]


def test_what_follows_the_loss_of_setpoints(player: Player) -> None:
    """COM_OBL_RC_ACT by COM_RC_IN_MODE: which mode, after how long, and back with new setpoints."""
    stopped_s, seen = 0.0, 0
    for line in lines("loss"):
        t, kind = line["t"], line["k"]
        if kind == "cmd":
            player.run_until(t)
            command, *params = COMMANDS[line["name"]]
            player.send("COMMAND_LONG", command_long(command, *params))
        elif kind == "setparam":
            player.run_until(t)
            value = struct.unpack("<f", struct.pack("<i", line["v"]))[0]
            fields = {"param_id": line["name"].encode(), "param_value": value, "param_type": 6}
            player.send("PARAM_SET", fields)
            assert player.listener.events[-1].what == ("PARAM", line["name"])
            if line["name"] == "COM_OBL_RC_ACT":
                player.repeat("SET_POSITION_TARGET_LOCAL_NED", CLIMBING)
                if seen == 0:
                    player.run_until(t + 0.3)
                    player.send("COMMAND_LONG", command_long(176, 129.0, 6.0, 0.0))
        elif kind == "STOP":
            player.run_until(t)
            assert player.vehicle.commander.mode == Mode.OFFBOARD
            player.stop_repeating("setpoint")
            stopped_s, before = player.vehicle.time_s, len(player.listener.events)
        elif kind == "LOSS_RESULT":
            player.run_until(stopped_s + line["dt"])
            events = player.listener.events[before:]
            text = next(e for e in events if e.what == ("TEXT", 2, "Failsafe activated\t"))
            assert OFFBOARD_LOST_S[0] <= text.t - stopped_s <= OFFBOARD_LOST_S[1]
            commander = player.vehicle.commander
            assert commander.mode.value == line["sub"] << 24 | line["main"] << 16
            seen += 1
        elif kind == "disarmed":
            break
    assert seen == 12


def command_long(command: int, *params: float) -> dict[str, Any]:
    padded = [*params, *[math.nan] * (7 - len(params))]
    return {"command": command, "confirmation": 0} | {
        f"param{n}": value for n, value in enumerate(padded, start=1)
    }


def acknowledged(player: Player, since: int) -> list[int]:
    """Commands that were answered at once."""
    return [e.what[1] for e in player.listener.events[since:] if e.what[0] == "ACK"]
