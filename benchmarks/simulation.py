"""Control steps per second of the racing environment, beside crazyflow's in the same run.

    python -m benchmarks.simulation

Ours: action space `ctbr`, 100 Hz control, five substeps (crazyflow's 500 Hz) and once more with
four; course `toledo`, X500; judging, reward, auto-reset and observations included, new starts drawn
every 64 steps; one shard of drones per core. Crazyflow 0.4.0: its racing-like Gymnasium environment
(figure of eight: observations, reward, termination, reset) at 100 Hz with its own 500 Hz physics
and cheapest model, and its raw `Sim.step` for the same five ticks, with neither of these. Its
environment steps are one call each, as its users make them; the batch is the best of several.

Crazyflow pins another JAX, so it gets a virtual environment of its own in a temporary folder
(`--peer-python` names a ready one). The two run by turns, and the best of the turns counts for
both. `cpu_ns` is processor time per control step: it stays true when others use the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import REPOSITORY

GOAL_STEPS_PER_S = 5e6
GOAL_RATIO = 20.0
PEER = "crazyflow==0.4.0"
TURNS = 3
CORES = len(os.sched_getaffinity(0))
BATCHES = {"environment": (1024, 4096, 16384), "raw": (4096, 16384, 65536)}  # crazyflow's


def fly_ours(*, substeps: int, drones_per_core: int = 2048, steps: int = 64) -> dict[str, float]:
    """One process, one device per core."""
    import jax  # noqa: PLC0415  # crazyflow's interpreter has another
    import jax.numpy as jnp  # noqa: PLC0415

    from racer.sim.airframe import load_airframe  # noqa: PLC0415
    from racer.sim.environment import make_step, observe, reset  # noqa: PLC0415
    from racer.sim.task import Settings, make_task  # noqa: PLC0415
    from racer.sim.track import load_track  # noqa: PLC0415

    jax.config.update("jax_num_cpu_devices", CORES)
    x500 = load_airframe("x500")
    settings = Settings(action_space="ctbr", control_hz=100.0, substeps=substeps)
    course = load_track("toledo", altitude_m=2.5)
    task = make_task(course, settings, velocity_limit_m_s=8.0, yaw_limit_deg_s=90.0)
    step = make_step(x500, settings)
    mesh = jax.make_mesh((CORES,), ("cores",), axis_types=(jax.sharding.AxisType.Auto,))
    drones = drones_per_core * CORES
    shard, recorded = jax.P("cores"), jax.P(None, "cores")

    def start(keys: Any) -> Any:
        return reset(task, keys[0], (drones_per_core,), airframe=x500, along_course=0.8)

    def rollout(keys: Any, state: Any, action: Any) -> Any:
        keys = jax.vmap(jax.random.split)(keys)
        spare, calm = start(keys[:, 1]), jnp.zeros((drones_per_core, 3))

        def once(state: Any, _: None) -> Any:
            seen = observe(task, state, settings, axis=0)
            state, outcome = step(task, state, action, calm, spare)
            return state, (seen, outcome.reward, outcome.done)

        return keys[:, 0], *jax.lax.scan(once, state, None, length=steps)

    begin = jax.jit(jax.shard_map(start, mesh=mesh, in_specs=shard, out_specs=shard))
    run = jax.jit(
        jax.shard_map(rollout, mesh=mesh, in_specs=shard, out_specs=(shard, shard, recorded))
    )
    keys = jax.random.split(jax.random.key(0), CORES)
    action = 0.1 * jax.random.normal(jax.random.key(1), (drones, 4))
    state = begin(keys)

    def once() -> None:
        nonlocal state, keys
        keys, state, seen = run(keys, state, action)
        jax.block_until_ready(seen)

    return _timed(once, steps=drones * steps)


def fly_peer(kind: str, *, drones: int) -> dict[str, float]:
    """Crazyflow; runs in its own virtual environment."""
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415
    from crazyflow.envs.figure_8_env import FigureEightEnv  # noqa: PLC0415

    env = FigureEightEnv(num_envs=drones, freq=100)
    env.reset(seed=0)
    action = jnp.asarray(env.action_space.sample())
    calls = 20

    def environment() -> None:
        for _ in range(calls):
            seen = env.step(action)
        jax.block_until_ready(seen[:4])

    command = jnp.asarray(action).reshape(drones, 1, -1)

    def raw() -> None:
        for _ in range(calls):
            env.sim.attitude_control(command)
            env.sim.step(env.n_substeps)
        jax.block_until_ready(env.sim.data.states.pos)

    found = _timed({"environment": environment, "raw": raw}[kind], steps=drones * calls)
    return found | {"substeps": env.n_substeps}


def _timed(once: Callable[[], None], *, steps: int, seconds: float = 6.0) -> dict[str, float]:
    """Best wall and processor time of a call, after two that warm up."""
    once()
    once()
    walls, processors, until = [], [], time.perf_counter() + seconds
    while time.perf_counter() < until or len(walls) < 3:
        wall, processor = time.perf_counter(), time.process_time()
        once()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return {"steps_per_s": steps / min(walls), "cpu_ns": 1e9 * min(processors) / steps}


def _in_process(python: Path, *arguments: object) -> dict[str, float]:
    ours = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(REPOSITORY)}
    with tempfile.TemporaryDirectory() as folder:  # MuJoCo leaves a log where it runs
        answer = subprocess.run(
            [str(python), "-m", "benchmarks.simulation", *(str(part) for part in arguments)],
            cwd=folder,
            env=os.environ | ours,
            check=True,
            stdout=subprocess.PIPE,  # what goes wrong is told where everybody sees it
            text=True,
        )
    result: dict[str, float] = json.loads(answer.stdout.strip().splitlines()[-1])
    return result


def _better(one: dict[str, float] | None, other: dict[str, float]) -> dict[str, float]:
    return other if one is None or other["steps_per_s"] > one["steps_per_s"] else one


def compare(peer: Path) -> dict[str, Any]:
    """Turns of ours and theirs; the best of each."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(TURNS):
        for substeps in (4, 5):
            found = _in_process(Path(sys.executable), "--ours", substeps)
            name = f"ours, {substeps} substeps"
            best[name] = _better(best.get(name), found)
        for kind, batches in BATCHES.items():
            for drones in batches:
                found = _in_process(peer, "--peer", kind, drones) | {"drones": drones}
                best[f"crazyflow, {kind}"] = _better(best.get(f"crazyflow, {kind}"), found)
    return best


def main() -> int:
    """Measure and print; exit code 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has crazyflow")
    parser.add_argument("--ours", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ours is not None:
        print(json.dumps(fly_ours(substeps=given.ours)))
        return 0
    if given.peer is not None:
        print(json.dumps(fly_peer(given.peer[0], drones=int(given.peer[1]))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        peer = given.peer_python
        if peer is None:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            peer = Path(folder) / "bin" / "python"
            subprocess.run([str(peer), "-m", "pip", "install", "--quiet", PEER], check=True)
        best = compare(peer)
    for name, numbers in best.items():
        rounded = {key: float(f"{value:.4g}") for key, value in numbers.items()}
        print(json.dumps({"what": name, **rounded}))
    ours, same = best["ours, 4 substeps"], best["ours, 5 substeps"]
    theirs, raw = best["crazyflow, environment"], best["crazyflow, raw"]
    summary = {
        "cores": CORES,
        "ratio_to_goal": ours["steps_per_s"] / GOAL_STEPS_PER_S,
        "ratio_to_crazyflow": same["steps_per_s"] / theirs["steps_per_s"],
        "ratio_to_crazyflow_raw": same["steps_per_s"] / raw["steps_per_s"],
    }
    print(json.dumps({key: float(f"{value:.3g}") for key, value in summary.items()}))
    return int(summary["ratio_to_goal"] < 1.0 or summary["ratio_to_crazyflow"] < GOAL_RATIO)


if __name__ == "__main__":
    sys.exit(main())
