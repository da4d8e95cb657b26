"""What the controller knows, as ROS 2 messages. Frames: REP-103, REP-105 and REP-147."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import cos, nan, sin

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TwistStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import BatteryState, TimeReference

from racer.flight.authority import Lease
from racer.flight.commands import BodyRates, BodyVelocity, Place
from racer.flight.px4 import BatterySample, OdometrySample
from racer.flight.state import FlightState

_LAST_S = 2.0**31 - 1.0


def state_json(state: FlightState, lease: Lease | None, *, present: bool, lag_s: float) -> str:
    """The JSON of the state's topic; `lease`: the newest by which anybody flew, `present`: whether
    its pilot is there, `lag_s`: how late the controller's loop ran at worst since the last one."""
    return json.dumps(
        {
            "lease": None if lease is None else asdict(lease) | {"present": present},
            "connected": state.connected,
            "armed": state.armed,
            "in_air": state.in_air,
            "flight_mode": state.mode,
            "phase": state.phase,
            "message": state.message,
            "loop_lag_ms": round(1e3 * lag_s, 1),
        }
    )


def odometry_message(sample: OdometrySample, stamp: Time) -> Odometry:
    """Pose in map (ENU, origin at home), twist in base_link (FLU)."""
    message = Odometry()
    message.header.stamp = stamp
    message.header.frame_id, message.child_frame_id = "map", "base_link"
    pose, twist = message.pose.pose, message.twist.twist
    pose.position.x, pose.position.y, pose.position.z = sample.position
    orientation = pose.orientation
    orientation.w, orientation.x, orientation.y, orientation.z = sample.quaternion
    twist.linear.x, twist.linear.y, twist.linear.z = sample.velocity_body
    twist.angular.x, twist.angular.y, twist.angular.z = sample.angular_velocity
    return message


def clock_message(sample: OdometrySample, stamp: Time) -> TimeReference:
    """What the vehicle's own clock showed at the odometry of that stamp."""
    message = TimeReference()
    message.header.stamp, message.source = stamp, "vehicle"
    whole, rest = divmod(min(max(sample.stamp_s, 0.0), _LAST_S), 1.0)  # or it is no Time
    message.time_ref = Time(sec=int(whole), nanosec=int(1e9 * rest))
    return message


def battery_message(sample: BatterySample, stamp: Time) -> BatteryState:
    """What the battery says; NaN where it says nothing (BatteryState.msg)."""
    message = BatteryState()
    message.header.stamp, message.header.frame_id = stamp, "base_link"
    message.voltage = nan if sample.voltage_v is None else sample.voltage_v
    message.current = nan if sample.current_a is None else -sample.current_a
    message.percentage = nan if sample.remaining is None else sample.remaining
    message.charge = message.capacity = message.design_capacity = nan
    message.temperature = nan
    message.present = True
    message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
    message.power_supply_technology = BatteryState.POWER_SUPPLY_TECHNOLOGY_LIPO
    return message


def velocity_message(setpoint: BodyVelocity, stamp: Time) -> TwistStamped:
    """In the body's level frame: x forward, y left, z up, m/s; rad/s about z."""
    message = _twist(stamp)
    linear, angular = message.twist.linear, message.twist.angular
    linear.x, linear.y, linear.z = setpoint.forward_m_s, setpoint.left_m_s, setpoint.up_m_s
    angular.z = setpoint.yaw_rate_rad_s
    return message


def rates_message(setpoint: BodyRates, stamp: Time) -> TwistStamped:
    """Body rates about x forward, y left, z up, rad/s; linear z: collective thrust, 0 to 1."""
    message = _twist(stamp)
    angular = message.twist.angular
    angular.x, angular.y, angular.z = setpoint.roll_rad_s, setpoint.pitch_rad_s, setpoint.yaw_rad_s
    message.twist.linear.z = setpoint.collective
    return message


def _twist(stamp: Time) -> TwistStamped:
    """One of zeros, in the body's frame."""
    message = TwistStamped()
    message.header.stamp, message.header.frame_id = stamp, "base_link"
    return message


def place_message(setpoint: Place, stamp: Time) -> PoseStamped:
    """A place in map (ENU) and the heading to have there."""
    message = PoseStamped()
    message.header.stamp, message.header.frame_id = stamp, "map"
    position, orientation = message.pose.position, message.pose.orientation
    position.x, position.y, position.z = setpoint.east_m, setpoint.north_m, setpoint.up_m
    orientation.w, orientation.z = cos(setpoint.yaw_rad / 2), sin(setpoint.yaw_rad / 2)
    return message
