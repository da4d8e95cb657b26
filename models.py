"""Every table, one metadata.

`User` and `UserDroneModel` are the seed API's entities; `TrainingRun` and `TrainingEpoch` are the
durable record of a training, so that a client that comes late gets what it missed. Times are UTC
with zone in Python on both databases. Statuses are text, validated here and not by a CHECK, so
that a new one needs no table rewrite on SQLite.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal
from uuid import uuid4

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Status(StrEnum):
    """Of a drone model and of each of its trainings."""

    INITIALIZING = "initializing"
    TRAINING = "training"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (Status.INITIALIZING, Status.TRAINING, Status.PAUSED)  # trainings that have not ended


class JobStatus(StrEnum):
    """Of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RaceStatus(StrEnum):
    """Of a race."""

    OPEN = "open"  # takes entries
    RUNNING = "running"  # waits for its turn, or is flown
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Role(StrEnum):
    """What an account may do beyond its own things."""

    PILOT = "pilot"  # nothing
    RACE_DIRECTOR = "race_director"  # manages every race
    ADMIN = "admin"  # uses everything


class UTCDateTime(TypeDecorator[datetime]):
    """An aware datetime. SQLite stores no zone: the zone is dropped as UTC and put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time without a zone means nothing: use datetime.now(UTC).")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utc_now() -> datetime:
    """Now, in UTC, with zone."""
    return datetime.now(UTC)


def new_uuid() -> str:
    """A random UUID as the 36-character text that ids are."""
    return str(uuid4())


def _status_type(kind: type[StrEnum] = Status) -> Enum:
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=16,
        values_callable=lambda statuses: [status.value for status in statuses],
    )


class Base(DeclarativeBase):
    """Common metadata. Named constraints, so that a migration can alter them on any database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UTCDateTime,
        dict[str, Any]: JSON,
        float: Float(53),
    }


class User(Base):
    """An account. Without a password it is open to everyone on this host, as in the seed."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    role: Mapped[Role] = mapped_column(
        _status_type(Role), default=Role.PILOT, server_default=Role.PILOT.value
    )
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)

    drone_models: Mapped[list[UserDroneModel]] = relationship(
        back_populates="user",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="UserDroneModel.id",
    )


class SignIn(Base):
    """A session: from signing in with the password until it is ended or not renewed in time.

    Its access tokens carry the id. Its refresh tokens share a handle; the newest one has the
    secret. Both are random, and only their SHA-256 is here.
    """

    __tablename__ = "sign_ins"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_uuid)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    handle_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime] = mapped_column(index=True)

    user: Mapped[User] = relationship()


class AuditEntry(Base):
    """Something that an operator may have to know later. It refers to nothing: who did it and what
    it was done to may be gone."""

    __tablename__ = "audit_entries"

    number: Mapped[int] = mapped_column(primary_key=True)  # the oldest are found without counting
    id: Mapped[str] = mapped_column(String(36), unique=True, default=new_uuid)
    created_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)
    actor_id: Mapped[int | None]  # null: nobody signed in, or the command line
    actor: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(32))
    target: Mapped[str] = mapped_column(String(200))
    outcome: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(64))


class UserDroneModel(Base):
    """What a user configures and trains. `drone_details` keeps the client's texts unchanged."""

    __tablename__ = "user_drone_models"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    drone_id: Mapped[str] = mapped_column(String(36), unique=True, default=new_uuid)
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, default="")
    training_epochs: Mapped[int] = mapped_column(default=20)
    drone_details: Mapped[dict[str, Any]]
    status: Mapped[Status] = mapped_column(_status_type(), default=Status.INITIALIZING)
    train_loss: Mapped[float | None]
    train_accuracy: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)

    user: Mapped[User] = relationship(back_populates="drone_models")
    runs: Mapped[list[TrainingRun]] = relationship(
        back_populates="drone_model",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="TrainingRun.created_at",
    )


class TrainingRun(Base):
    """One training of a drone model; `config` is what the training process is given.

    Who executes it holds a lease: `attempt` is its fencing token, counted from 1 at each start.
    """

    __tablename__ = "training_runs"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_uuid)
    drone_model_id: Mapped[int] = mapped_column(
        ForeignKey("user_drone_models.id", ondelete="CASCADE"), index=True
    )
    parent_run_id: Mapped[str | None] = mapped_column(  # whose weights it begins with
        ForeignKey("training_runs.id", ondelete="SET NULL"), index=True
    )
    parent_policy_id: Mapped[str | None] = mapped_column(String(36))  # likewise; it may be gone
    status: Mapped[Status] = mapped_column(_status_type(), default=Status.INITIALIZING, index=True)
    seed: Mapped[int] = mapped_column(BigInteger, default=0)
    config: Mapped[dict[str, Any]]
    sent: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # the model's settings, as sent
    resolved: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # with every default
    error: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(default=0)
    lease_holder: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[datetime | None]
    interruptions: Mapped[int] = mapped_column(default=0, server_default="0")  # since an epoch
    revision: Mapped[str | None] = mapped_column(String(64))  # of the code that trained last
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    drone_model: Mapped[UserDroneModel] = relationship(back_populates="runs")
    epochs: Mapped[list[TrainingEpoch]] = relationship(
        back_populates="run",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="TrainingEpoch.epoch",
    )


class TrainingEpoch(Base):
    """The metrics of one epoch (counted from 1) of a run; written once."""

    __tablename__ = "training_epochs"
    __table_args__ = (UniqueConstraint("run_id", "epoch"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("training_runs.id", ondelete="CASCADE"))
    epoch: Mapped[int]
    metrics: Mapped[dict[str, Any]]
    recorded_at: Mapped[datetime] = mapped_column(default=utc_now)

    run: Mapped[TrainingRun] = relationship(back_populates="epochs")


class Policy(Base):
    """A trained network that no training touches any more; its files lie in `policies/<id>`.

    `version` counts from 1 among the policies of this name and user.
    """

    __tablename__ = "policies"
    __table_args__ = (UniqueConstraint("user_id", "name", "version"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_uuid)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    drone_model_id: Mapped[int | None] = mapped_column(
        ForeignKey("user_drone_models.id", ondelete="SET NULL"), index=True
    )
    run_id: Mapped[str | None] = mapped_column(
        ForeignKey("training_runs.id", ondelete="SET NULL"), index=True
    )
    parent_id: Mapped[str | None] = mapped_column(
        ForeignKey("policies.id", ondelete="SET NULL"), index=True
    )
    name: Mapped[str] = mapped_column(String(200))
    version: Mapped[int]
    origin: Mapped[str] = mapped_column(String(16))  # trained, uploaded
    sha256: Mapped[str] = mapped_column(String(64))  # of policy.onnx
    size_bytes: Mapped[int]
    track: Mapped[str] = mapped_column(String(64))  # that it was trained on
    manifest: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]  # of the run's end; empty for an uploaded one
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    user: Mapped[User] = relationship()


class Job(Base):
    """Work of one go for a child process (racer.jobs): evaluations, races, reference times.

    Who executes it holds a lease: `attempt` is its fencing token, counted from 1 at each start.
    """

    __tablename__ = "jobs"
    __table_args__ = (  # what a claim counts for each owner
        Index("ix_jobs_owner_id_status", "owner_id", "status"),
        Index("ix_jobs_owner_id_started_at", "owner_id", "started_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_uuid)
    owner_id: Mapped[int] = mapped_column(default=0, server_default="0")  # of a user, then
    kind: Mapped[str] = mapped_column(String(32))
    config: Mapped[dict[str, Any]]  # what the child process is given
    status: Mapped[JobStatus] = mapped_column(
        _status_type(JobStatus), default=JobStatus.QUEUED, index=True
    )
    progress: Mapped[float] = mapped_column(default=0.0)  # 0 to 1, of this attempt
    # What its program told, until its kind took that; why its files are gone (racer.jobs.room).
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(default=0)
    lease_holder: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[datetime | None]
    interruptions: Mapped[int] = mapped_column(default=0)  # attempts whose process was killed
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Evaluation(Base):
    """A policy flown from fresh starts, by a job; filled in when that has finished.

    Deleting the job deletes it; the job of one that is gone is deleted by racer.jobs.
    """

    __tablename__ = "evaluations"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_uuid)
    policy_id: Mapped[str] = mapped_column(
        ForeignKey("policies.id", ondelete="CASCADE"), index=True
    )
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), unique=True)
    settings: Mapped[dict[str, Any]]  # as asked for
    track_name: Mapped[str | None] = mapped_column(String(140))  # null: flown on the policy's own
    track: Mapped[str | None] = mapped_column(Text, deferred=True)  # TOML, as it was then
    track_sha256: Mapped[str | None] = mapped_column(String(64))  # of that text
    conditions: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # as flown
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    flights: Mapped[dict[str, Any] | None] = mapped_column(
        JSON(none_as_null=True), deferred=True
    )  # lists, start by start
    created_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)

    policy: Mapped[Policy] = relationship()
    user: Mapped[User] = relationship()
    job: Mapped[Job] = relationship()


class KeptRun(Base):
    """A finished run whose policy became a version. The row outlives that version, so that one
    which its owner deleted does not come back; it goes with the run."""

    __tablename__ = "kept_runs"

    run_id: Mapped[str] = mapped_column(
        ForeignKey("training_runs.id", ondelete="CASCADE"), primary_key=True
    )
    kept_at: Mapped[datetime] = mapped_column(default=utc_now)


class UserTrack(Base):
    """A user's own course: the TOML text as it was sent, and what lists show of it."""

    __tablename__ = "user_tracks"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_uuid)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))  # of the content
    gates: Mapped[int]
    laps: Mapped[int]
    length_m: Mapped[float]
    mean_height_m: Mapped[float]  # of the gates
    shared: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)

    user: Mapped[User] = relationship()


class Race(Base):
    """A race of submitted policies, flown by a job. What it was is kept here in full: its track,
    its organiser and its policies may go at any time."""

    __tablename__ = "races"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_uuid)
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    username: Mapped[str] = mapped_column(String(64))  # of the organiser, then
    name: Mapped[str] = mapped_column(String(200))
    format: Mapped[str] = mapped_column(String(16))
    track_name: Mapped[str] = mapped_column(String(140))
    track: Mapped[str] = mapped_column(Text, deferred=True)  # TOML
    track_sha256: Mapped[str] = mapped_column(String(64), index=True)
    laps: Mapped[int]
    airframe: Mapped[str] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]]  # wind_speed_m_s, attempts, start, interval_s, seeding
    max_entrants: Mapped[int]
    seed: Mapped[int | None] = mapped_column(BigInteger)  # drawn at the start, told after the end
    status: Mapped[RaceStatus] = mapped_column(
        _status_type(RaceStatus), default=RaceStatus.OPEN, index=True
    )
    error: Mapped[str | None] = mapped_column(Text)
    heats: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), deferred=True)
    job_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="SET NULL"), unique=True
    )
    copies_bytes: Mapped[int] = mapped_column(default=0)  # of its entries' policies, on the disk
    created_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    user: Mapped[User | None] = relationship()
    job: Mapped[Job | None] = relationship()
    entries: Mapped[list[RaceEntry]] = relationship(
        back_populates="race",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="RaceEntry.number",
    )


class RaceEntry(Base):
    """A policy in a race, or a flight by hand; its files are copied, and its result outlives them
    and their owner."""

    __tablename__ = "race_entries"
    __table_args__ = (
        UniqueConstraint("race_id", "number"),
        UniqueConstraint("race_id", "policy_id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_uuid)
    race_id: Mapped[str] = mapped_column(ForeignKey("races.id", ondelete="CASCADE"))
    number: Mapped[int]  # within the race, from 1, in the order in which they came
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    policy_id: Mapped[str | None] = mapped_column(
        ForeignKey("policies.id", ondelete="SET NULL"), index=True
    )
    username: Mapped[str] = mapped_column(String(64))
    policy_name: Mapped[str | None] = mapped_column(String(200))  # null: flown by hand
    policy_version: Mapped[int | None]
    policy_sha256: Mapped[str | None] = mapped_column(String(64), index=True)  # of policy.onnx
    flight: Mapped[str | None] = mapped_column(String(64))  # the recording, of a flight by hand
    competitor: Mapped[str] = mapped_column(String(64))  # racer.racing.competitors
    rank: Mapped[int | None]
    score_s: Mapped[float | None]  # the time that counts in the race's format
    elo: Mapped[float | None]  # after the race
    elo_change: Mapped[float | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), deferred=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    race: Mapped[Race] = relationship(back_populates="entries")
    user: Mapped[User | None] = relationship()

    @property
    def flown(self) -> Literal["policy", "hand"]:
        """By what."""
        return "policy" if self.flight is None else "hand"


class Rating(Base):
    """The Elo of a competitor on one track with one airframe."""

    __tablename__ = "ratings"

    track_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    airframe: Mapped[str] = mapped_column(String(64), primary_key=True)
    competitor: Mapped[str] = mapped_column(String(64), primary_key=True)
    elo: Mapped[float]
    games: Mapped[int]  # races against others


class ReferenceTime(Base):
    """The best time that physics allows; `time_s` once its job has finished."""

    __tablename__ = "reference_times"

    track_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    airframe: Mapped[str] = mapped_column(String(64), primary_key=True)
    flying: Mapped[bool] = mapped_column(primary_key=True)
    laps: Mapped[int] = mapped_column(primary_key=True)  # 1 of a flying lap
    time_s: Mapped[float | None]
    error: Mapped[str | None] = mapped_column(Text)
    revision: Mapped[str | None] = mapped_column(String(64))  # of the program that was asked
    job_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="SET NULL"), unique=True
    )


class KeptAnswer(Base):
    """The answer to a request that made something, for those who send it again
    (racer.web.idempotency). Who asked and what are digests that need SECRET_KEY."""

    __tablename__ = "kept_answers"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64), index=True)
    fingerprint: Mapped[str | None] = mapped_column(String(64))  # of the request's body
    status: Mapped[int | None]  # null: it is under way
    headers: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    body: Mapped[bytes | None] = mapped_column(LargeBinary)  # compressed; null: too long
    created_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)
