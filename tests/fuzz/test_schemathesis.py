"""Requests made from the API's own description, at the real service, in both modes of accounts.

schemathesis makes valid and invalid requests for every operation, and chains of them along the
document's links (racer.web.links), and checks every answer: no 5xx, the documented status, media
type and schema, what is invalid is refused. Some seconds of it run here, on SQLite;
`SCHEMATHESIS_CASES=3000` runs at least so many cases in each mode and on each database, which takes
some two minutes each. Left out are streams, which do not end, and `start-simulation`, which waits
30 s for a vehicle.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.program import running
from tests.support import REPOSITORY, claim_slot

CASES = int(os.environ.get("SCHEMATHESIS_CASES", "0"))
KEY = "k" * 48
# An admin, to whom everything answers, under a name that no request guesses.
PERSON = {"username": "warden-7c1e", "password": "correct horse battery"}
_LEFT_OUT = "(stream|start-simulation|gazebo-stream/.*)$"
_CASES_AN_EXAMPLE = 230  # there are some 250, of all operations and chains together
DATABASES = ["sqlite", "postgresql"] if CASES else ["sqlite"]


@pytest.fixture(params=["open", "required"])
def service(
    request: pytest.FixtureRequest, tmp_path: Path, database_url: str
) -> Iterator[httpx.Client]:
    """The real service without a vehicle, with an admin."""
    with claim_slot(tmp_path) as slot:
        environment = slot | {
            "AUTH_MODE": request.param,
            "SECRET_KEY": KEY,
            "DATABASE_URL": database_url,
            "LOG_LEVEL": "WARNING",
            "WRITES_PER_MINUTE": "0",
        }
        create = [*(sys.executable, "-m", "racer", "create-admin"), PERSON["username"]]
        subprocess.run(
            [*create, "--password-stdin"],
            cwd=REPOSITORY,
            env=environment,
            input=PERSON["password"],
            text=True,
            check=True,
        )
        program = (sys.executable, "-m", "tests.fuzz.service")
        with running(environment, program=program) as (client, _):
            yield client


@pytest.mark.parametrize("database_url", DATABASES, indirect=True)
@pytest.mark.timeout(3600 if CASES else 240)
def test_no_request_breaks_the_service_or_its_description(
    service: httpx.Client, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(REPOSITORY / "tests/fuzz/schemathesis.toml")),
        *("run", f"{str(service.base_url).rstrip('/')}/openapi.json"),
        *("--exclude-path-regex", _LEFT_OUT, "--seed", "1", "--no-shrink"),
        *("--request-timeout", "30", "--continue-on-failure", "--suppress-health-check", "all"),
        *("--report", "json", "--report-json-path", str(report)),
        *("--max-examples", str(max(CASES // _CASES_AN_EXAMPLE, 1))),
        *(() if CASES else ("--max-time", "20", "--phases", "coverage,stateful")),
    ]
    sign_in = {"FUZZ_USERNAME": PERSON["username"], "FUZZ_PASSWORD": PERSON["password"]}
    environment = os.environ | sign_in
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    print(ran.stdout[-20_000:], ran.stderr[-2_000:])
    told: dict[str, Any] = json.loads(report.read_text())
    assert (told["failures"], told["errors"]) == ([], [])
    only_401 = set(told["warnings"]["missing_auth"]) - {"POST /token", "POST /token/refresh"}
    assert only_401 == set(), "nobody who was signed in tried them"
    assert told["test_cases"]["generated"] >= max(CASES, 30)
    assert service.get("/livez").is_success
