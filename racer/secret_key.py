"""The key that signs tokens, and what a server must not start without or with."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from pathlib import Path
from tempfile import NamedTemporaryFile

from racer.errors import ConfigurationError
from racer.settings import Settings

_SHORTEST_KEY = 32


def require_safe(settings: Settings) -> None:
    """Raise ConfigurationError for what a server must not start with: open accounts that other
    machines reach, or no key of its own where everybody signs in."""
    if settings.auth_mode == "open" and not _is_loopback(settings.host):
        raise ConfigurationError(
            f"HOST={settings.host} lets other machines in, and AUTH_MODE=open lets whoever comes "
            "use accounts without a password. Set AUTH_MODE=required (and SECRET_KEY), or "
            "HOST=127.0.0.1."
        )
    if settings.auth_mode == "required" or settings.secret_key:
        _require_long(settings.secret_key)


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches it: every address that the name stands for."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(str(address[0])).is_loopback for *_, address in found)


def _require_long(key: str) -> None:
    if len(key) < _SHORTEST_KEY:
        empty = "" if not key else ", or leave it empty with AUTH_MODE=open"
        raise ConfigurationError(
            f"SECRET_KEY {'is shorter than' if key else 'is missing: AUTH_MODE=required needs'} "
            f"{_SHORTEST_KEY} characters, so that nobody can forge tokens. Make one with "
            f".venv/bin/python -c 'import secrets; print(secrets.token_urlsafe(48))'{empty}."
        )


def load_secret_key(settings: Settings) -> str:
    """SECRET_KEY, or the installation's own, made once with mode 0600 in DATA_DIR.

    Made complete under another name and then linked: of several processes that start at once, one
    wins and all read the same key.
    """
    if settings.secret_key or settings.auth_mode == "required":
        _require_long(settings.secret_key)
        return settings.secret_key
    path = settings.data_dir / "secret_key"
    try:
        if not path.exists():
            _create_secret_key(path)
        key = path.read_text("ascii").strip()
    except OSError as error:
        raise ConfigurationError(
            f"Cannot keep the secret key in {path}: {error.strerror}. Make DATA_DIR writable, or "
            "set SECRET_KEY."
        ) from error
    if len(key) < _SHORTEST_KEY:
        raise ConfigurationError(f"{path} is damaged. Delete it (everybody signs in again).")
    return key


def _create_secret_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=".secret_key.") as file:  # mode 0600
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            return  # another process was faster; its key is the key
