"""The folder of JAX's compiled programs is bounded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from racer.learning.compile_cache import make_room


def test_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "used", "old", "oldest")):
        file = tmp_path / f"jit_{name}-0f3a-cache"
        file.write_bytes(bytes(100))
        when = 1_000_000 - age
        os.utime(file, (when + 10 * (name == "used"), when))
    (tmp_path / "epoch-1.program").write_bytes(bytes(1000))  # racer.learning.programs bounds these
    make_room(tmp_path, 250)
    left = {file.name.split("-")[0] for file in tmp_path.iterdir()}
    assert left == {"jit_new", "jit_used", "epoch"}
    make_room(tmp_path, 250)
    assert len(list(tmp_path.iterdir())) == 3


def test_jax_names_its_files_as_they_are_looked_for(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
import jax
from racer.learning.compile_cache import keep_compiled_programs
keep_compiled_programs(Path({str(tmp_path / "cache")!r}))
jax.jit(lambda x: x + 1)(2.0)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    files = list((tmp_path / "cache").iterdir())
    assert files
    assert all(file.name.endswith("-cache") for file in files)
