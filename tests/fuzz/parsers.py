"""Every parser that a stranger can reach, with its share of the inputs."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from pydantic import ValidationError

from racer.errors import InvalidInputError, UnauthorizedError
from racer.rewards.diagnostics import InvalidRewardError
from racer.sim.track_keys import InvalidTrackError
from tests.fuzz import documents, messages, mutate
from tests.fuzz.mutate import Mutator
from tests.fuzz.watch import Parser

_Row = tuple[Parser, Mutator]


@functools.cache
def table() -> Mapping[str, _Row]:
    """The parsers by name, each with what makes its examples hostile."""
    d, m, files = documents, messages, documents.policy_files()
    refused_json = (d.RefusedJsonError, InvalidInputError)
    rows: tuple[_Row, ...] = (
        (
            Parser(
                "drone_model",
                d.drone_model,
                (d.RefusedJsonError, ValidationError),
                d.model_corpus(),
                0.22,
            ),
            mutate.as_json,
        ),
        (
            Parser("reward", d.reward, (InvalidRewardError,), d.reward_corpus(), 0.06),
            mutate.as_text,
        ),
        (
            Parser("track_toml", d.track_toml, (InvalidTrackError,), d.track_corpus(), 0.06),
            mutate.as_text,
        ),
        (
            Parser("track_json", d.track_json, (InvalidTrackError,), d.track_tables(), 0.04),
            mutate.as_json,
        ),
        (
            Parser("drawing", d.drawing, (InvalidTrackError,), d.track_corpus(), 0.01),
            mutate.as_text,
        ),
        (Parser("airframe", d.airframe, refused_json, d.airframe_corpus(), 0.05), mutate.tree),
        (
            Parser("manifest", d.manifest, (InvalidInputError,), files["manifest"], 0.05),
            mutate.as_json,
        ),
        (Parser("upload", d.upload, (InvalidInputError,), files["upload"], 0.05), mutate.raw),
        (Parser("network", d.network, (InvalidInputError,), files["network"], 0.02), d.as_network),
        (
            Parser(
                "controller_message",
                m.controller_message,
                (InvalidInputError,),
                m.COMMANDS + m.WORDS,
                0.12,
            ),
            mutate.as_json,
        ),
        (
            Parser("socket_frame", m.socket_frame, (InvalidInputError,), m.frame_corpus(), 0.12),
            mutate.as_json,
        ),
        (
            Parser("presence", m.presence, (InvalidInputError,), m.PRESENCES, 0.03),
            mutate.as_json,
        ),
        (
            Parser(
                "controller_state",
                m.controller_state,
                (ValueError, RecursionError),
                m.STATES,
                0.03,
            ),
            mutate.as_json,
        ),
        (Parser("cursor", m.cursor, (InvalidInputError,), m.CURSORS, 0.03), mutate.as_text),
        (Parser("name", m.name, (ValueError,), m.NAMES, 0.05), mutate.as_text),
        (Parser("origin_header", m.origin_header, (), m.ORIGINS, 0.03), mutate.as_text),
        (Parser("token", m.token, (UnauthorizedError,), m.token_corpus(), 0.02), mutate.raw),
        (
            Parser(
                "claims",
                m.claims,
                (m.RefusedClaimsError, UnauthorizedError),
                m.claims_corpus(),
                0.01,
            ),
            mutate.tree,
        ),
    )
    return {parser.name: (parser, mutator) for parser, mutator in rows}
