"""One typed place for everything that the environment may configure.

`.env.example` mirrors this file (a test checks). Read it through `get_settings()`; a bad
value stops the start with a message that names the variable and what it accepts.
Nothing here touches the disk or the network.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from racer.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """What one installation can change. Field names are the environment variables' names."""

    model_config = SettingsConfigDict(
        env_file=REPOSITORY / ".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    host: str = Field("127.0.0.1", description="Address that the web service binds.")
    port: int = Field(5000, ge=0, le=65535, description="Port of the web service; 0 = any free.")
    data_dir: Path = Field(
        REPOSITORY / "data", description="Database, secret key, policies, compile cache, logs."
    )
    database_url: str = Field(
        "", description="postgresql://user:password@host/name; empty = SQLite in DATA_DIR."
    )
    auth_mode: Literal["open", "required"] = Field(
        "open",
        description="open = accounts without a password are everybody's, so HOST must be of this "
        "machine alone; required = everybody signs in.",
    )
    secret_key: str = Field(
        "",
        description="Signs tokens; at least 32 characters. Empty = made once and kept in DATA_DIR "
        "with mode 0600; not with AUTH_MODE=required.",
    )
    audit_days: int = Field(
        365, ge=1, le=36_500, description="How long the audit log keeps an entry."
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default=["http://localhost:3000", "http://127.0.0.1:3000"],
        description="Pages that may call, and hosts that mean us: comma-separated, or a JSON list.",
    )
    max_sockets_per_user: int = Field(
        250,
        ge=1,
        le=10**5,
        description="WebSockets that one account, or one address without account, may have open; "
        "the console's count by address.",
    )
    writes_per_minute: int = Field(
        600,
        ge=0,
        le=10**6,
        description="How often an account, or an address without one, may write; 0 = no limit.",
    )
    metrics_token: str = Field(
        "",
        description="Bearer token that /metrics wants. Empty: with AUTH_MODE=open everybody may "
        "read it, with required admins only.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe message that is logged."
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="console = lines for people; json = an object a line."
    )
    otel_exporter_otlp_endpoint: str = Field(
        "",
        description="Where traces are sent, as http://collector:4318; empty = there are none.",
    )
    stack: Literal["auto", "embedded", "external"] = Field(
        "auto",
        description="embedded = start vehicle and controller; external = never; "
        "auto = embedded unless a controller node answers within two seconds.",
    )
    vehicle_instance: int = Field(
        0, ge=0, le=99, description="PX4 instance i: UDP 14540+i from 14580+i, system id 1+i."
    )
    airframe: str = Field(
        "x500", description="What the vehicle is; policies for another one are not flown."
    )
    vehicle_wind_east: float = Field(
        0.0, ge=-20, le=20, description="Mean wind around the embedded vehicle, to the east, m/s."
    )
    vehicle_wind_north: float = Field(
        0.0, ge=-20, le=20, description="The same to the north; gusts come with a wind."
    )
    vehicle_seed: int = Field(
        0, ge=0, le=2**31 - 1, description="Of the embedded vehicle's gusts and sensor noise."
    )
    vehicle_noise: bool = Field(True, description="Whether its raw sensors are noisy.")
    speed_factor: float = Field(
        1.0, ge=0.1, le=20.0, description="Seconds that pass for the embedded vehicle in one."
    )
    autopilot_url: str = Field(
        "", description="MAVSDK connection URL; empty = udpin://0.0.0.0:14540+VEHICLE_INSTANCE."
    )
    fence_west_m: float = Field(
        -20.0, le=0, description="Geofence of the controller, m from home; west and south: below 0."
    )
    fence_east_m: float = Field(30.0, ge=0, description="The same to the east.")
    fence_south_m: float = Field(-30.0, le=0, description="The same to the south.")
    fence_north_m: float = Field(30.0, ge=0, description="The same to the north.")
    fence_floor_m: float = Field(
        0.3,
        ge=0,
        le=2,
        description="Flight by hand goes no lower above the take-off; landing does.",
    )
    fence_ceiling_m: float = Field(15.0, ge=3, description="Nothing flies higher above it, m.")
    fence_distance_m: float = Field(50.0, gt=0, description="Nor farther from home, m.")
    max_speed_m_s: float = Field(
        5.0, gt=0, le=30, description="Fastest flight by hand, m/s; a policy has its own limit."
    )
    max_climb_m_s: float = Field(2.0, gt=0, le=10, description="The same up and down, m/s.")
    max_yaw_rate_deg_s: float = Field(90.0, gt=0, le=400, description="The same turning, °/s.")
    pilot_silence_s: float = Field(
        0.5, ge=0.2, le=10, description="Without a pilot's heartbeat for so long the vehicle holds."
    )
    pilot_lost_land_s: float = Field(
        30.0, ge=1, le=600, description="And lands so much later if no pilot came back."
    )
    flight_recordings_mb: int = Field(
        1000,
        ge=0,
        le=10**6,
        description="Flights are recorded in DATA_DIR/flights up to this size a drone, the oldest "
        "go first; 0 = none.",
    )
    ros_domain_id: int = Field(0, ge=0, le=101, description="ROS 2 domain of the topics.")
    ros_automatic_discovery_range: Literal["LOCALHOST", "SUBNET", "SYSTEM_DEFAULT", "OFF"] = Field(
        "LOCALHOST", description="SUBNET lets other machines' ROS 2 nodes see and fly the drone."
    )
    seed_db: bool = Field(
        False, description="Whether each start adds the sample account and trains its first model."
    )
    max_trainings: int = Field(1, ge=1, le=64, description="Trainings that run at the same time.")
    executor: Literal["local", "ray"] = Field(
        "local", description="Where trainings run: beside the server, or on a Ray cluster."
    )
    ray_address: str = Field(
        "",
        validate_default=True,
        description="The Ray dashboard, http://host:8265; DATA_DIR is shared by its nodes then.",
    )
    ray_auth_token: str = Field("", description="Of a Ray cluster with token authentication.")
    ray_cpus: float = Field(1.0, gt=0, le=1024, description="Cores that Ray keeps for a training.")
    training_memory_mb: int = Field(
        0,
        ge=0,
        le=10**8,
        description="Memory that they may need together, by estimate; one always runs. 0 = as "
        "much as the machine has left.",
    )
    max_jobs: int = Field(
        1, ge=1, le=64, description="Evaluations, races and other jobs that run at the same time."
    )

    policies_mb: int = Field(
        500, ge=1, le=10**6, description="Policies in DATA_DIR/policies up to this size a user."
    )
    jobs_mb: int = Field(
        5000,
        ge=1,
        le=10**6,
        description="Files of ended jobs in DATA_DIR/jobs, replays of races and trajectories of "
        "evaluations, up to this size; the oldest go first.",
    )
    races_mb: int = Field(
        2000,
        ge=1,
        le=10**6,
        description="Copies of entered policies in DATA_DIR/races up to this size; those of the "
        "races that finished longest ago go first.",
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        """Accept `a,b` as well as `["a", "b"]`: people write both in .env files."""
        if not isinstance(value, str):
            return value
        parts = value.strip().removeprefix("[").removesuffix("]").split(",")
        return [part.strip().strip("\"'").rstrip("/") for part in parts if part.strip()]

    @field_validator("ray_address")
    @classmethod
    def _is_a_dashboard(cls, value: str, info: ValidationInfo) -> str:
        """With EXECUTOR=local it may be anything: Ray reads a variable of that name, too."""
        url = urlsplit(value)
        if info.data.get("executor") == "ray" and not (
            url.scheme in ("http", "https") and url.hostname
        ):
            raise ValueError("EXECUTOR=ray needs the Ray dashboard's URL, as http://head:8265")
        return value.rstrip("/")

    @property
    def effective_database_url(self) -> str:
        """The configured URL, or SQLite in DATA_DIR. `database.Database` chooses the driver."""
        return self.database_url or f"sqlite:///{self.data_dir / 'toledo_racer.db'}"

    @property
    def effective_autopilot_url(self) -> str:
        """MAVSDK URL; the seed's `udp://:14540` spelling is understood too."""
        url = self.autopilot_url or f"udpin://0.0.0.0:{14540 + self.vehicle_instance}"
        if url.startswith("udp://:"):
            return "udpin://0.0.0.0:" + url.removeprefix("udp://:")
        return url


@lru_cache
def get_settings() -> Settings:
    """The process's settings, read once from the environment and `.env`.

    Raises ConfigurationError that names each variable with a bad value and what it accepts.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = [
            f"{'_'.join(map(str, item['loc'])).upper()}={item['input']!r}: {item['msg']}"
            for item in error.errors()
        ]
        raise ConfigurationError(
            f"The environment or .env has values that mean nothing: {'; '.join(wrong)}."
        ) from error
