"""What an evaluation is flown on: a copy of the course, since a track may change or go."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy.orm import Session

from models import Policy
from racer.evaluations.schemas import EvaluationIn
from racer.policy.rates import check_rates
from racer.sim.airframe import parse_airframe
from racer.sim.track import load_track
from racer.tracks.service import named


class Course(NamedTuple):
    """A track as it is now."""

    name: str  # in full: a user's is username/name
    text: str  # TOML
    sha256: str  # of the text


def course_of(session: Session, policy: Policy, wanted: EvaluationIn) -> Course | None:
    """The course that the policy's owner means; None: the policy's own.

    Raises NotFoundError when there is no such track that they may use, InvalidInputError when the
    policy cannot be evaluated there, or at all.
    """
    manifest = policy.manifest
    check_rates(manifest["control_hz"], manifest["substeps"])
    if wanted.track is None:
        return None
    record = named(session, wanted.track, policy.user.username)
    track = load_track(record.content, altitude_m=wanted.altitude_m)
    track.check_room(parse_airframe(manifest["airframe"]).body.collision_radius_m)
    return Course(record.full_name, record.content, record.sha256)
