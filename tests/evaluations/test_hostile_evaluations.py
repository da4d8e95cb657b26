"""Whatever stands in the body that asks for an evaluation: a refusal in words, never a fault."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError

from racer.evaluations.schemas import EvaluationIn
from racer.settings import Settings
from tests.evaluations.conftest import running
from tests.evaluations.test_evaluation_routes import numbered
from tests.training.conftest import play

INF, NAN = float("inf"), float("nan")
# No key takes any of these, unless FINE says so.
VALUES: list[Any] = [
    *(True, False, NAN, INF, -INF, 1e308, -1e-300, -1, 10**30, 2**63, 10**4000),
    *("", "1", "true", "none\0", "\0", "\ud800", "x" * 5000, "../x", "a/b", "/", "//", "'; --"),
    *([], [1], ["full"], {}, {"starts": 1}, [[]], {"$gt": 0}),
]
FINE: dict[str, tuple[Any, ...]] = {"same_start": (True, False)}
BODIES: list[Any] = [
    *(None, True, 5, 0.5, NAN, "starts", [], [{}], [{"starts": 1}]),
    {"startz": 1},
    {"policy_id": "somebody else's"},
    {"compile_cache": "/etc"},
    {"__class__": "x"},
    {"": 0},
    {"\0": 0},
    {"\ud800": 0},
    {"starts": 64.0},
    {"seed": 0.5},
    {"laps": 1.0},
    {"recorded": "8"},
    {"altitude_m": 3.0},
    {"altitude_m": NAN, "track": "toledo"},
    {"altitude_m": 0.4999, "track": "toledo"},
    {"altitude_m": True, "track": "toledo"},
    {"track": {"name": "toledo"}},
    {"vary": None, "track": "toledo\n"},
    {"vary": "None"},
]
RAW = [
    b"",
    b"{",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}x",
    b'{"starts": 1e400}',
    b'{"starts": -}',
    b'{"starts": ' + b"9" * 5000 + b"}",
    b'{"seed": 1, "seed": NaN}',
    b"[" * 100_000,
    b'{"track":' * 50_000,
]


def test_hostile_bodies_are_refused(settings: Settings) -> None:
    bodies = [*RAW, *(json.dumps(body).encode() for body in BODIES)]
    for key in EvaluationIn.model_fields:
        for value in VALUES:
            if not any(value is fine for fine in FINE.get(key, ())):
                bodies.append(json.dumps({key: value}).encode())

    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            path = f"/policies/{rig.new_policy('ada', numbered(1))}/evaluations"
            for body in bodies:
                headers = {"Content-Type": "application/json"}
                answer = await rig.http.post(path, content=body, headers=headers)
                refusals = (400, 422) if body in RAW else (404, 409, 422)  # 400: no JSON at all
                assert answer.status_code in refusals, (body[:200], answer.text[:300])
                assert answer.json()["detail"], body[:200]
            assert (await rig.http.get("/evaluations")).json()["evaluations"] == []

    play(scenario())


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
KEYS = st.sampled_from([*EvaluationIn.model_fields, "startz"])


@examples(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(KEYS, ANY, max_size=4))
def test_what_passes_is_what_a_job_can_be_given(body: dict[str, Any]) -> None:
    try:
        wanted = EvaluationIn.model_validate(body)
    except ValidationError:
        return
    sent = json.loads(json.dumps(wanted.model_dump(), allow_nan=False))
    for key in ("starts", "seed", "recorded"):
        assert type(sent[key]) is int, body
    assert type(sent["same_start"]) is bool
    assert sent["laps"] is None or type(sent["laps"]) is int
    assert "\0" not in (sent["track"] or "")
    assert "startz" not in body
