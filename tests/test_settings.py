"""`.env.example` mirrors Settings, and a bad value stops the start in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from dotenv import dotenv_values

from racer.errors import ConfigurationError
from racer.settings import REPOSITORY, Settings, get_settings

EXAMPLE = REPOSITORY / ".env.example"


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting comes from this machine."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.usefixtures("bare_environment")
def test_the_example_names_every_setting_and_no_other() -> None:
    assert set(dotenv_values(EXAMPLE)) == {name.upper() for name in Settings.model_fields}


@pytest.mark.usefixtures("bare_environment")
def test_the_example_copied_changes_nothing() -> None:
    assert Settings(_env_file=EXAMPLE) == Settings(_env_file=None)


def test_the_database_is_sqlite_in_the_data_directory_unless_set() -> None:
    place = Path("/srv/racer")
    embedded = Settings(_env_file=None, data_dir=place, database_url="")
    assert embedded.effective_database_url == "sqlite:////srv/racer/toledo_racer.db"
    url = "postgresql://u:p@host/name?sslmode=require"
    assert Settings(_env_file=None, database_url=url).effective_database_url == url


@pytest.mark.parametrize(
    "text", ["http://a,http://b/", '["http://a", "http://b"]', " http://a , http://b"]
)
def test_origins_as_people_write_them(bare_environment: pytest.MonkeyPatch, text: str) -> None:
    bare_environment.setenv("CORS_ORIGINS", text)
    assert Settings(_env_file=None).cors_origins == ["http://a", "http://b"]


def test_a_bad_value_is_refused_by_name(bare_environment: pytest.MonkeyPatch) -> None:
    bare_environment.setenv("PORT", "many")
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match=r"PORT='many'.*integer"):
        get_settings()
    get_settings.cache_clear()


@pytest.mark.parametrize("address", ["", "auto", "head:6379", "ray://head:10001", "http://"])
def test_ray_needs_the_address_of_its_dashboard(
    bare_environment: pytest.MonkeyPatch, address: str
) -> None:
    bare_environment.setenv("RAY_ADDRESS", address)
    assert Settings(_env_file=None).executor == "local"
    bare_environment.setenv("EXECUTOR", "ray")
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match=r"RAY_ADDRESS=.*http://head:8265"):
        get_settings()
    get_settings.cache_clear()
