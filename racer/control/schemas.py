"""Wire types of the control slice, for the API's documentation."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Numbers = list[float | None]


class Battery(BaseModel):
    """What the battery says; null where it does not."""

    voltage_v: float | None
    remaining: float | None = Field(description="0 to 1.")


class Telemetry(BaseModel):
    """The newest word on the vehicle. World ENU, body FLU, SI units."""

    stamp: float = Field(description="Unix time of the pose, s.", examples=[1_778_337_000.25])
    age_s: float | None = Field(description="Since the pose arrived here, s.")
    connected: bool
    armed: bool
    in_air: bool
    flight_mode: str = Field(examples=["OFFBOARD"])
    phase: str = Field(examples=["hovering"])
    message: str = Field(examples=["Hovering at 2.0 m."])
    position: Numbers = Field(description="East, north, up from home, m.", examples=[[1.5, 0, 2]])
    velocity: Numbers = Field(description="East, north, up, m/s.", examples=[[0, 0, 0]])
    velocity_body: Numbers = Field(description="Forward, left, up, m/s.", examples=[[0, 0, 0]])
    quaternion: Numbers = Field(description="w, x, y, z; body to world.", examples=[[1, 0, 0, 0]])
    yaw_deg: float | None = Field(description="Counter-clockwise from east.")
    heading_deg: float | None = Field(description="Clockwise from north.")
    angular_velocity: Numbers = Field(
        description="About forward, left, up, rad/s.", examples=[[0, 0, 0]]
    )
    battery: Battery | None


class DroneOut(BaseModel):
    """A drone that this service flies."""

    drone: int = Field(description="Its number: 1 is PX4's instance 0.")
    connected: bool = Field(description="Whether its vehicle is there.")
    pilot: str | None = Field(description="Who has the controls; null: nobody.")
    pilot_id: str | None = Field(description="Tells pilots of one name apart.")
    commands_topic: str = Field(description="ROS 2 topic of its commands.")


class SimulationOut(BaseModel):
    """The answer to starting or stopping a simulation."""

    status: Literal["success", "already_running", "error"]
    message: str
