"""Which code made a policy."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 10.0


@lru_cache
def git_revision(checkout: Path = _CHECKOUT) -> str:
    """The commit of a checkout, `…-dirty` when files differ from it; "unknown" outside of one.

    A package installed into somebody else's repository must not take that one's revision, hence
    the look for `.git` beside it.
    """
    git = shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return "unknown"
    clean = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(  # noqa: S603 - git itself, by its full path, fixed arguments
            [git, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=checkout,
            env=clean | {"GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            check=True,
            timeout=_PATIENCE_S,
        )
    except (OSError, subprocess.SubprocessError):  # no commit yet, or a folder of another owner
        return "unknown"
    return answer.stdout.strip()[:64]
