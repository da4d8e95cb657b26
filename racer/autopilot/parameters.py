"""PX4 parameters: names, types and defaults as data, and MAVLink's way of carrying them.

Values travel in one float field. PX4 declares PARAM_ENCODE_BYTEWISE: an integer's bytes are put
there as they are, so its float reading is meaningless (0.0 or a denormal).

Which parameters act on the embedded vehicle is told by `docs/vehicle.md`; the others exist because
ground stations and MAVSDK read them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Final

INT32: Final = 6  # MAV_PARAM_TYPE
REAL32: Final = 9

# Defaults as read from PX4 v1.17 SITL (airframe 10040) or, where not read there, as documented;
# docs/vehicle.md names the few that differ.
DEFAULTS: Final[Mapping[str, int | float]] = {
    "BAT1_CAPACITY": 5000.0,  # mAh
    "BAT1_N_CELLS": 4,
    "BAT_CRIT_THR": 0.07,  # of the capacity: the failsafe of COM_LOW_BAT_ACT
    "BAT_EMERGEN_THR": 0.05,
    "BAT_LOW_THR": 0.15,  # a warning
    "CAL_ACC0_ID": 1310988,
    "CAL_ACC1_ID": 1310996,
    "CAL_ACC2_ID": 1311004,
    "CAL_BARO0_ID": 6620172,
    "CAL_BARO0_PRIO": 50,
    "CAL_GYRO0_ID": 1310988,
    "CAL_GYRO1_ID": 1310996,
    "CAL_GYRO2_ID": 1311004,
    "CAL_MAG0_ID": 197388,
    "CAL_MAG0_PRIO": 50,
    "CAL_MAG1_ID": 197644,
    "CAL_MAG1_PRIO": 50,
    "COM_DISARM_LAND": 2.0,  # s after landing; 0 or less: never
    "COM_DISARM_PRFLT": 10.0,  # s after arming without a takeoff; 0 or less: never
    "COM_DL_LOSS_T": 10,  # s without a ground station's heartbeat
    "COM_FAIL_ACT_T": 5.0,  # s in Hold before a battery's failsafe acts
    "COM_LOW_BAT_ACT": 0,  # 0 warn, 1 return, 2 land, 3 return and at the emergency level land
    "COM_OBC_LOSS_T": 5.0,  # s without an onboard computer's heartbeat
    "COM_OBL_RC_ACT": 0,  # what to do when Offboard loses its setpoints
    "COM_OF_LOSS_T": 1.0,  # s
    "COM_RCL_EXCEPT": 0,
    "COM_RC_IN_MODE": 1,
    "COM_SPOOLUP_TIME": 1.0,  # s
    "IMU_GYRO_RATEMAX": 800,
    "MAV_SYS_ID": 1,
    "MAV_TYPE": 2,
    "MC_PITCHRATE_MAX": 220.0,  # deg/s
    "MC_ROLLRATE_MAX": 220.0,
    "MC_YAWRATE_MAX": 200.0,
    "MIS_TAKEOFF_ALT": 2.5,  # m
    "MPC_LAND_ALT1": 10.0,  # m: here descent begins to slow down
    "MPC_LAND_ALT2": 5.0,
    "MPC_LAND_ALT3": 1.0,
    "MPC_LAND_CRWL": 0.3,  # m/s
    "MPC_LAND_SPEED": 0.7,
    "MPC_THR_HOVER": 0.5,
    "MPC_TILTMAX_AIR": 45.0,  # deg
    "MPC_TKO_RAMP_T": 3.0,  # s
    "MPC_TKO_SPEED": 1.5,  # m/s
    "MPC_XY_CRUISE": 5.0,
    "MPC_XY_P": 0.95,  # 1/s
    "MPC_XY_VEL_MAX": 12.0,
    "MPC_YAWRAUTO_MAX": 60.0,  # deg/s
    "MPC_Z_P": 1.0,
    "MPC_Z_VEL_MAX_DN": 1.5,
    "MPC_Z_VEL_MAX_UP": 3.0,
    "NAV_ACC_RAD": 2.0,  # m
    "NAV_DLL_ACT": 0,
    "NAV_RCL_ACT": 2,
    "RTL_CONE_ANG": 45,  # deg
    "RTL_LAND_DELAY": 0.0,
    "RTL_MIN_DIST": 10.0,  # m
    "RTL_RETURN_ALT": 30.0,
    "SENS_BOARD_X_OFF": 1e-6,  # deg
    "SENS_DPRES_OFF": 0.001,  # Pa
    "SIH_T_MAX": 5.0,
    "SIM_BAT_DRAIN": 0.0,  # s from full to empty; 0: by the rotors' power (PX4: 60)
    "SIM_BAT_MIN_PCT": 0.0,  # here it stops (PX4: 50)
    "SYS_AUTOCONFIG": 0,
    "SYS_AUTOSTART": 10040,
}
_NOT_NEGATIVE: Final = (
    *("BAT", "COM_DL_", "COM_FAIL_", "COM_OBC_", "COM_OF_"),
    *("MC_", "MIS_", "MPC_", "RTL_", "SIM_BAT_"),
)
PUSHED_AT_BOOT: Final = tuple(n for n in DEFAULTS if n.startswith(("CAL_", "SENS_", "SYS_AUTO")))


def to_wire(value: int | float) -> tuple[float, int]:
    """(param_value, param_type) of a value."""
    if isinstance(value, int):
        return struct.unpack("<f", struct.pack("<i", value))[0], INT32
    return value, REAL32


def from_wire(value: float, kind: int) -> int | float:
    """The value that PARAM_SET carries."""
    if kind == INT32:
        return int(struct.unpack("<i", struct.pack("<f", value))[0])
    return value


class Parameters:
    """The vehicle's parameters. The type of each is that of its default."""

    def __init__(self, changes: Mapping[str, int | float] | None = None) -> None:
        self._values: dict[str, int | float] = dict(DEFAULTS)
        self._names = sorted(self._values)
        for name, value in (changes or {}).items():
            self.set(name, value)

    def __getitem__(self, name: str) -> int | float:
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def name_at(self, index: int) -> str | None:
        """The parameter's name at PARAM_REQUEST_READ's index, None outside."""
        return self._names[index] if 0 <= index < len(self._names) else None

    def index_of(self, name: str) -> int:
        """Its place in the list. Raises ValueError on an unknown name."""
        return self._names.index(name)

    def kind_of(self, name: str) -> int:
        """Its MAV_PARAM_TYPE. Raises KeyError on an unknown name."""
        return INT32 if isinstance(self._values[name], int) else REAL32

    def set(self, name: str, value: int | float) -> None:
        """Change one. Raises KeyError on an unknown name, TypeError on the other type, ValueError
        on what no parameter can be.
        """
        if isinstance(self._values[name], int) != isinstance(value, int):
            raise TypeError(f"{name} is {'an integer' if self.kind_of(name) == INT32 else 'real'}.")
        if not math.isfinite(value) or (value < 0 and name.startswith(_NOT_NEGATIVE)):
            raise ValueError(f"{name} cannot be {value}.")
        self._values[name] = value
