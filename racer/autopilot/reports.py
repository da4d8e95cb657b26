"""What the vehicle reports: each function makes the fields of one MAVLink message from a `View`.

Sensors (HIGHRES_IMU, SCALED_PRESSURE, GPS_RAW_INT) carry seeded noise; estimates carry none.
"""

from __future__ import annotations

import math
import time
from typing import Any, Final, TypeAlias

from racer.autopilot.modes import Mode
from racer.autopilot.plant import Level
from racer.autopilot.setpoints import FRAME_LOCAL_NED, enu_quaternion
from racer.autopilot.view import View
from racer.geometry.rotation import rotate_inverse

Fields: TypeAlias = dict[str, Any]
_UNKNOWN: Final = (math.nan, *(0.0,) * 20)
_FIELD_GAUSS: Final = (0.215, 0.013, 0.430)  # north, east, down of the magnetic field near Zurich
# MAV_SYS_STATUS_SENSOR, as PX4 fills it in: gyro, accelerometer, magnetometer, barometer, GPS,
# horizontal position and battery are there; an RC receiver is wanted and missing
_BATTERY: Final = 0x2000000
_PRESENT: Final = 0x2F | 0x4000 | _BATTERY
_ENABLED: Final = _PRESENT | 0x10000
# nothing is wrong with those, nor with airspeed, attitude, motors, AHRS and logging
_HEALTHY: Final = _PRESENT | 0x10 | 0x800 | 0x8000 | 0x200000 | 0x1000000
_GEOFENCE: Final = 0x100000  # unlike PX4: without it MAVProxy calls "fence breach" when it connects
_PREARM_CHECK: Final = 0x10000000
_ESTIMATOR_GOOD: Final = 0x33F  # attitude, velocities, positions relative and absolute
_FRAME_BODY_FRD: Final = 12
_VELOCITY_AND_YAW_RATE: Final = 1479  # POSITION_TARGET_TYPEMASK: ignore all the rest
_NOTHING: Final = 0xFFF
_STABILIZE, _GUIDED, _AUTO, _ARMED = 16, 8, 4, 128


def heartbeat(v: View) -> Fields:
    """Type quadrotor, autopilot PX4; base mode and status as PX4 derives them."""
    c = v.commander
    fresh = c.offboard_available(v.time_s)
    base = 1 | (_ARMED if c.armed else 0)
    if c.mode != Mode.OFFBOARD:
        base |= _STABILIZE | _GUIDED | _AUTO
    elif (c.armed or fresh) and (v.setpoint is None or v.setpoint.controls_attitude):
        base |= _STABILIZE
    return {
        "type": 2,
        "autopilot": 12,
        "base_mode": base,
        "custom_mode": int(c.mode),
        "system_status": _system_status(v),
        "mavlink_version": 3,
    }


def _system_status(v: View) -> int:
    """MAV_STATE: uninitialised, standby, active or critical."""
    c = v.commander
    if c.armed:
        return 4 if c.failsafe.mode is None else 5
    return 3 if c.can_arm(v.time_s) else 0


def current_mode(v: View) -> Fields:
    """What is flown and what the pilot asked for."""
    c = v.commander
    return {"custom_mode": int(c.mode), "intended_custom_mode": int(c.intention)}


def sys_status(v: View) -> Fields:
    """Sensors, arming checks, load and battery."""
    healthy = _HEALTHY | _GEOFENCE | (_PREARM_CHECK if v.commander.can_arm(v.time_s) else 0)
    if v.commander.failsafe.warning:
        healthy &= ~_BATTERY
    return {
        "onboard_control_sensors_present": _PRESENT,
        "onboard_control_sensors_enabled": _ENABLED,
        "onboard_control_sensors_health": healthy,
        "load": min(int(v.load * 1000), 1000),
        "voltage_battery": round(v.battery.voltage_v * 1e3),
        "current_battery": round(v.battery.current_a * 1e2),
        "battery_remaining": math.ceil(v.battery.remaining * 1e2),
    }


def battery_status(v: View) -> Fields:
    """The one battery, cell by cell."""
    b = v.battery
    cell = round(b.voltage_v * 1e3 / b.cells)
    return {
        "type": 1,  # lithium polymer
        "battery_function": 1,
        "temperature": 32767,
        "voltages": (cell,) * b.cells + (65535,) * (10 - b.cells),
        "current_battery": round(b.current_a * 1e2),
        "current_consumed": round(b.used_mah),
        "energy_consumed": -1,
        "battery_remaining": round(b.remaining * 1e2),
        "time_remaining": b.time_remaining_s,
        "charge_state": b.warning + 1,
    }


def extended_sys_state(v: View) -> Fields:
    """On the ground, taking off, in the air or landing."""
    return {"landed_state": int(v.commander.landed_state)}


def attitude(v: View) -> Fields:
    """Euler angles and body rates."""
    roll, pitch, yaw = v.euler
    return {"time_boot_ms": v.ms, "roll": roll, "pitch": pitch, "yaw": yaw} | _rates(v)


def attitude_quaternion(v: View) -> Fields:
    """FRD to NED."""
    return {"time_boot_ms": v.ms} | _numbered("q", v.quaternion) | _rates(v)


def attitude_target(v: View) -> Fields:
    """What the cascade is steering to."""
    s = v.state
    return {
        "time_boot_ms": v.ms,
        "q": enu_quaternion(s.target_qw, s.target_qx, s.target_qy, s.target_qz),
        "body_roll_rate": s.target_wx,
        "body_pitch_rate": -s.target_wy,
        "body_yaw_rate": -s.target_wz,
        "thrust": s.collective,
    }


def local_position_ned(v: View) -> Fields:
    """Relative to home."""
    s = v.state
    fields = {"x": s.py, "y": s.px, "z": -s.pz, "vx": s.vy, "vy": s.vx, "vz": -s.vz}
    return {"time_boot_ms": v.ms} | fields


def odometry(v: View) -> Fields:
    """Pose in NED, velocity in FRD."""
    s = v.state
    vx, vy, vz = v.body_velocity
    return {
        "time_usec": v.us,
        "frame_id": FRAME_LOCAL_NED,
        "child_frame_id": _FRAME_BODY_FRD,
        "x": s.py,
        "y": s.px,
        "z": -s.pz,
        "q": v.quaternion,
        "vx": vx,
        "vy": vy,
        "vz": vz,
        **_rates(v),
        "pose_covariance": _UNKNOWN,
        "velocity_covariance": _UNKNOWN,
        "estimator_type": 8,  # MAV_ESTIMATOR_TYPE_AUTOPILOT
        "quality": 100,
    }


def global_position_int(v: View) -> Fields:
    """Where on Earth."""
    s = v.state
    latitude, longitude = v.position_e7
    return {
        "time_boot_ms": v.ms,
        "lat": latitude,
        "lon": longitude,
        "alt": round(v.altitude_m * 1e3),
        "relative_alt": round(s.pz * 1e3),
        "vx": _centi(s.vy),
        "vy": _centi(s.vx),
        "vz": _centi(-s.vz),
        "hdg": round(v.heading_deg * 1e2) % 36000,
    }


def gps_raw_int(v: View) -> Fields:
    """A receiver with a 3D fix and centimetres of noise."""
    s, gauss = v.state, v.noise
    latitude, longitude = v.home.to_global(s.px + gauss(0.0, 0.05), s.py + gauss(0.0, 0.05))
    altitude = round((v.altitude_m + gauss(0.0, 0.1)) * 1e3)
    course = math.degrees(math.atan2(s.vx, s.vy)) % 360.0
    return {
        "time_usec": v.us,
        "fix_type": 3,
        "lat": round(latitude * 1e7),
        "lon": round(longitude * 1e7),
        "alt": altitude,
        "eph": 90,
        "epv": 90,
        "vel": min(round(v.speed * 1e2), 65534),
        "cog": round(course * 1e2) % 36000,
        "satellites_visible": 16,
        "alt_ellipsoid": altitude + 47_000,
        "h_acc": 900,
        "v_acc": 1800,
        "vel_acc": 200,
    }


def altitude(v: View) -> Fields:
    """Every altitude there is; terrain is the floor at home's height."""
    up = v.state.pz
    return {
        "time_usec": v.us,
        "altitude_monotonic": v.altitude_m,
        "altitude_amsl": v.altitude_m,
        "altitude_local": up,
        "altitude_relative": up,
        "altitude_terrain": v.home.altitude_m,
        "bottom_clearance": up,
    }


def vfr_hud(v: View) -> Fields:
    """What a pilot's head-up display shows."""
    return {
        "airspeed": v.speed,
        "groundspeed": v.speed,
        "heading": round(v.heading_deg) % 360,
        "throttle": round(max(v.state.collective, 0.0) * 100),
        "alt": v.altitude_m,
        "climb": v.state.vz,
    }


def highres_imu(v: View) -> Fields:
    """Accelerometer, gyro, magnetometer and barometer."""
    s, gauss = v.state, v.noise
    mx, my, mz = rotate_inverse(v.quaternion, _FIELD_GAUSS)
    pressure = _pressure_hpa(v.altitude_m) + gauss(0.0, 0.02)
    return {
        "time_usec": v.us,
        "xacc": s.fx + gauss(0.0, 0.05),
        "yacc": -s.fy + gauss(0.0, 0.05),
        "zacc": -s.fz + gauss(0.0, 0.05),
        "xgyro": s.wx + gauss(0.0, 0.002),
        "ygyro": -s.wy + gauss(0.0, 0.002),
        "zgyro": -s.wz + gauss(0.0, 0.002),
        "xmag": mx + gauss(0.0, 0.002),
        "ymag": my + gauss(0.0, 0.002),
        "zmag": mz + gauss(0.0, 0.002),
        "abs_pressure": pressure,
        "pressure_alt": v.altitude_m,
        "temperature": 25.0,
        "fields_updated": 0x1BFF,
    }


def scaled_pressure(v: View) -> Fields:
    """The barometer."""
    pressure = _pressure_hpa(v.altitude_m) + v.noise(0.0, 0.02)
    return {"time_boot_ms": v.ms, "press_abs": pressure, "temperature": 2500}


def position_target_local_ned(v: View) -> Fields:
    """The velocity that the cascade is steering to."""
    d = v.demand
    steering = d.level == Level.VELOCITY
    east, north, up = (d.x, d.y, d.z) if steering else (0.0, 0.0, 0.0)
    return {
        "time_boot_ms": v.ms,
        "coordinate_frame": FRAME_LOCAL_NED,
        "type_mask": _VELOCITY_AND_YAW_RATE if steering else _NOTHING,
        "vx": north,
        "vy": east,
        "vz": -up,
        "yaw_rate": -d.yaw_rate,
    }


def servo_output_raw(v: View) -> Fields:
    """Motor outputs as pulse widths; 900 when disarmed."""
    s = v.state
    commands = (s.c0, s.c1, s.c2, s.c3)
    pulses = [round(1000 + 1000 * share) if v.commander.armed else 900 for share in commands]
    return {"time_usec": v.us & 0xFFFFFFFF} | {
        f"servo{n}_raw": pulse for n, pulse in enumerate(pulses, 1)
    }


def distance_sensor(v: View) -> Fields:
    """A rangefinder that looks down."""
    return {
        "time_boot_ms": v.ms,
        "min_distance": 20,
        "max_distance": 5000,
        "current_distance": min(round(v.state.pz * 1e2), 5000),
        "orientation": 25,
        "signal_quality": 100,
    }


def home_position(v: View) -> Fields:
    """ENU (0, 0, 0)."""
    latitude, longitude = v.home.latitude_deg, v.home.longitude_deg
    return {
        "latitude": round(latitude * 1e7),
        "longitude": round(longitude * 1e7),
        "altitude": round(v.home.altitude_m * 1e3),
        "q": (1.0, 0.0, 0.0, 0.0),
        "time_usec": v.us,
    }


def estimator_status(v: View) -> Fields:
    """The estimate is the truth."""
    accuracy = {"pos_horiz_accuracy": 0.1, "pos_vert_accuracy": 0.1}
    return {"time_usec": v.us, "flags": _ESTIMATOR_GOOD} | accuracy


def mission_current(_: View) -> Fields:
    """No mission."""
    return {"mission_state": 1}


def ping(v: View) -> Fields:
    """A question that MAVSDK answers."""
    return {"time_usec": v.us, "seq": int(v.time_s) & 0xFFFFFFFF}


def timesync(v: View) -> Fields:
    """A question too."""
    return {"ts1": int(v.time_s * 1e9)}


def system_time(v: View) -> Fields:
    """Wall clock and time since boot."""
    return {"time_unix_usec": int(time.time() * 1e6), "time_boot_ms": v.ms}


def vibration(v: View) -> Fields:
    """None: the simulated frame is rigid."""
    return {"time_usec": v.us}


def _rates(v: View) -> Fields:
    s = v.state
    return {"rollspeed": s.wx, "pitchspeed": -s.wy, "yawspeed": -s.wz}


def _numbered(prefix: str, values: tuple[float, ...]) -> Fields:
    return {f"{prefix}{number}": value for number, value in enumerate(values, 1)}


def _centi(value: float) -> int:
    return max(-32768, min(32767, round(value * 1e2)))


def _pressure_hpa(altitude_m: float) -> float:
    """International standard atmosphere."""
    return float(1013.25 * (1.0 - 2.25577e-5 * altitude_m) ** 5.25588)
