"""One of everything under an account, as rows and files: nothing is trained or flown for it."""

from __future__ import annotations

import itertools
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from auth import hash_password
from models import (
    Evaluation,
    Job,
    JobStatus,
    KeptRun,
    Policy,
    Race,
    RaceEntry,
    RaceStatus,
    Status,
    TrainingEpoch,
    TrainingRun,
    User,
    UserDroneModel,
    new_uuid,
    utc_now,
)
from racer.policy.manifest import Manifest
from racer.racing.replay import REPLAY_FILE, Recorded, encode, record
from racer.sim.track import load_track, parse_track
from racer.tracks import queries as tracks
from racer.tracks.service import content_of
from tests.racing.paths import straight
from tests.racing.pilots import write_pilot
from tests.tracks.texts import loop

PASSWORD = "correct horse"
_DETAILS = {"raceType": "time-trial", "algorithm": "ppo", "velocityLimit": "15", "windSpeed": ""}
_CONDITIONS = {"starts": 2, "control_hz": 25.0}
_numbers = itertools.count(1)


class Maker:
    """Makes worlds in one data folder."""

    def __init__(self, data_dir: Path, patterns: Path, *, drone: int) -> None:
        """`patterns`: a folder for what all worlds copy; `drone`: the number of the vehicle."""
        self._drone = drone
        self._data_dir = data_dir
        self._password_hash = hash_password(PASSWORD)
        self._pilot = patterns / "pilot"
        self._manifest: Manifest = write_pilot(self._pilot, 4.0)
        path = straight((0.0, 0.0, 2.5), (1.0, 2.0, 0.0), seconds=1.0)
        replay = record(load_track("toledo"), "x500", [Recorded(1, "ghost", 0, path)])
        self._replay = encode(replay)

    def user(self, session: Session, *, protected: bool = True) -> User:
        """A new account, with PASSWORD if it is protected."""
        name = f"pilot-{next(_numbers)}"
        user = User(username=name, password_hash=self._password_hash if protected else None)
        session.add(user)
        session.flush()
        return user

    def world(self, session: Session, user: User) -> dict[str, str]:
        """One of everything under the account; the ids by the names of the table."""
        ids = {"username": user.username, "drone": str(self._drone), "track": "toledo"}
        return (
            ids
            | self._trainings(session, user)
            | self._policies(session, user)
            | self._tracks(session, user)
            | self._races(session, user)
        )

    def _trainings(self, session: Session, user: User) -> dict[str, str]:
        model = UserDroneModel(user=user, title="First", training_epochs=4, drone_details=_DETAILS)
        untrained = UserDroneModel(user=user, title="Second", drone_details=_DETAILS)
        session.add_all([model, untrained])
        began, ids = utc_now(), {}
        states = (Status.FINISHED, Status.PAUSED, Status.FAILED, Status.INITIALIZING)
        for number, name in enumerate(("run_id", "paused_id", "failed_id", "waiting_id")):
            metrics = {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "seconds": 1.0}
            run = TrainingRun(
                drone_model=model,
                status=states[number],
                config={"epochs": 4},
                created_at=began + timedelta(seconds=number),
                epochs=[TrainingEpoch(epoch=1, metrics=metrics)],
            )
            session.add(run)
            session.flush()
            ids[name] = run.id
        session.add(KeptRun(run_id=ids["run_id"]))  # nobody looks for its files
        ids |= {"drone_id": model.drone_id, "model_id": str(model.id)}
        return ids | {"untrained_id": untrained.drone_id}

    def _policies(self, session: Session, user: User) -> dict[str, str]:
        policy = Policy(
            id=new_uuid(),
            user_id=user.id,
            name="Racer",
            version=1,
            origin="uploaded",
            sha256=self._manifest.policy.sha256,
            size_bytes=self._manifest.policy.size_bytes,
            track="toledo",
            manifest=self._manifest.model_dump(mode="json"),
            metrics={},
        )
        session.add(policy)
        session.flush()
        shutil.copytree(self._pilot, self._data_dir / "policies" / policy.id)
        finished = self._evaluation(session, user, policy, JobStatus.FINISHED)
        finished.report, finished.conditions = {"completion": 1.0}, _CONDITIONS
        finished.flights = {"course_time_s": [10.0, 11.0]}
        self._job_file(finished.job_id, "flights.npz", b"flights")
        queued = self._evaluation(session, user, policy, JobStatus.QUEUED)
        return {"policy_id": policy.id, "evaluation_id": finished.id, "queued_id": queued.id}

    def _evaluation(
        self, session: Session, user: User, policy: Policy, status: JobStatus
    ) -> Evaluation:
        job = self._job(session, user, "evaluation", status)
        evaluation = Evaluation(policy=policy, user=user, job=job, settings={})
        session.add(evaluation)
        session.flush()
        return evaluation

    def _tracks(self, session: Session, user: User) -> dict[str, str]:
        own, shared = (
            tracks.add_track(session, user, text, parse_track(text))
            for text in (loop("own"), loop("shared"))
        )
        shared.shared = True
        return {"track_id": own.id, "shared_id": shared.id}

    def _races(self, session: Session, user: User) -> dict[str, str]:
        job = self._job(session, user, "race", JobStatus.FINISHED)
        self._job_file(job.id, REPLAY_FILE, self._replay)
        race = self._race(session, user, RaceStatus.OPEN)
        raced = self._race(session, user, RaceStatus.FINISHED, job=job, seed=1, heats=[])
        raced.entries[0].result = {"rank": 1, "status": "finished"}
        raced.entries[0].rank, raced.finished_at = 1, utc_now()
        session.flush()
        return {"race_id": race.id, "raced_id": raced.id, "entry_id": race.entries[0].id}

    def _race(self, session: Session, user: User, status: RaceStatus, **more: Any) -> Race:
        """Of one entry, whose policy was deleted."""
        entry = RaceEntry(
            number=1,
            user=user,
            username=user.username,
            policy_name="Racer",
            policy_version=1,
            policy_sha256="0" * 64,
            competitor="0" * 16,
        )
        settings = {"wind_speed_m_s": 0.0, "attempts": 1, "start": "grid", "interval_s": 2.0}
        race = Race(
            user=user,
            username=user.username,
            name="Cup",
            format="time_trial",
            track_name="toledo",
            track=content_of(session, "toledo", user.username),
            track_sha256="1" * 64,
            laps=1,
            airframe="x500",
            settings=settings | {"seeding": "time_trial"},
            max_entrants=8,
            status=status,
            entries=[entry],
            **more,
        )
        session.add(race)
        session.flush()
        return race

    def _job(self, session: Session, user: User, kind: str, status: JobStatus) -> Job:
        job = Job(id=new_uuid(), owner_id=user.id, kind=kind, config={}, status=status)
        session.add(job)
        session.flush()
        return job

    def _job_file(self, job_id: str, name: str, content: bytes) -> None:
        folder = self._data_dir / "jobs" / job_id
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content)
