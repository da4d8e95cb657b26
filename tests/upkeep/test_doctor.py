"""What the doctor says of a sound machine, and of one that lacks something."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from database import Database
from racer.settings import Settings
from racer.upkeep import doctor
from racer.upkeep.doctor import examine
from tests.support import REPOSITORY, claim_slot, free_tcp_port


def sick(finding: doctor.Finding) -> bool:
    return finding.mark == "missing" and bool(finding.advice)


@pytest.mark.slow
def test_a_sound_machine(tmp_path: Path) -> None:
    with claim_slot(tmp_path / "data") as slot:
        done = subprocess.run(
            [sys.executable, "-m", "racer", "doctor", "--json"],
            cwd=REPOSITORY,
            env=slot,
            check=False,
            capture_output=True,
            text=True,
            timeout=200,
        )
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, findings
    assert [f["part"] for f in findings] == [
        *("Python", "Packages", "Disk", "Memory", "Database", "Web port", "Vehicle", "ROS 2", "JAX")
    ]
    assert not (tmp_path / "data").exists()  # it changes nothing


def test_the_database_as_it_is(empty_settings: Settings) -> None:
    settings = empty_settings
    assert doctor._database(settings).mark == "ok"
    database = Database(settings.effective_database_url)
    database.upgrade("0003")
    assert "will be migrated" in doctor._database(settings).said
    database.upgrade()
    assert "of this release" in doctor._database(settings).said
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert sick(doctor._database(settings))
    database.dispose()


@pytest.mark.parametrize(
    "url", ["postgresql://nobody@127.0.0.1:1/x?connect_timeout=1", "mysql://x/y", "no url"]
)
def test_a_database_that_is_not_there(tmp_path: Path, url: str) -> None:
    wrong = Settings(_env_file=None, data_dir=tmp_path, database_url=url)
    assert doctor._database(wrong).mark == "missing"


def test_a_port_that_another_program_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        holder.close()
        free = Settings(_env_file=None, data_dir=tmp_path, port=port)
        assert doctor._web_port(free).mark == "ok"
    with socket.create_server(("127.0.0.1", free_tcp_port())) as holder:
        taken = Settings(_env_file=None, data_dir=tmp_path, port=holder.getsockname()[1])
        assert sick(doctor._web_port(taken))


def test_packages_that_are_missing_or_old(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# a comment\nhttpx>=0.1  # there\nno-such-package>=1\npsutil<1\n")
    finding = doctor._packages(file)
    assert sick(finding)
    assert "no-such-package is not installed; psutil is" in finding.said
    assert doctor._packages(REPOSITORY / "requirements.txt").mark == "ok"


def test_a_folder_that_cannot_be_written() -> None:
    assert doctor._disk(Path("/proc/toledo")).mark == "missing"


def test_a_child_that_dies_is_told(tmp_path: Path) -> None:
    assert doctor._child("import os; os.abort()", {})[0] == ""
    said, error = doctor._child("import no_such_module", {})
    assert (said, "no_such_module" in error) == ("", True)


def test_every_part_is_looked_at_lazily(tmp_path: Path) -> None:
    first = next(iter(examine(Settings(_env_file=None, data_dir=tmp_path))))
    assert first.part == "Python"
