"""`python -m racer.autopilot --instance I`: a vehicle that MAVSDK cannot tell from simulated PX4.

Order of the start: ports first (a taken one must fail at once), then compilation, then the links
begin to speak. JAX is set up for one small program in a loop: one thread, no asynchronous dispatch.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from pathlib import Path

import structlog

from racer.autopilot.link import Link
from racer.errors import RacerError, UnavailableError
from racer.process import configure_logging, die_with_parent

_log = structlog.get_logger("racer.autopilot")


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 after SIGTERM or Ctrl-C, 1 when it cannot start."""
    die_with_parent()
    options = parse_options(arguments)
    configure_logging(options.log_level, program=f"vehicle {options.instance + 1}")
    try:
        offboard, ground = _open_links(options.instance)
    except UnavailableError as error:
        print(error.message, file=sys.stderr)
        return 1
    try:
        _fly(options, offboard, ground)
    except RacerError as error:
        print(error.message, file=sys.stderr)
        return 1
    finally:
        offboard.close()
        ground.close()
    return 0


def _open_links(instance: int) -> tuple[Link, Link]:
    """PX4's ports of an instance: 14580+i → 14540+i and 18570+i → 14550."""
    system = 1 + instance
    offboard = Link("offboard", port=14580 + instance, partner_port=14540 + instance, system=system)
    try:
        ground = Link("ground", port=18570 + instance, partner_port=14550, system=system)
    except UnavailableError:
        offboard.close()
        raise
    return offboard, ground


def _fly(options: argparse.Namespace, offboard: Link, ground: Link) -> None:
    _prepare_jax(options.compile_cache)
    # these import JAX, which must see its settings first
    import jax  # noqa: PLC0415

    from racer.autopilot.loop import Loop  # noqa: PLC0415
    from racer.autopilot.protocol import Protocol  # noqa: PLC0415
    from racer.autopilot.vehicle import Vehicle  # noqa: PLC0415
    from racer.autopilot.view import Home  # noqa: PLC0415
    from racer.sim.airframe import load_airframe  # noqa: PLC0415

    # on this thread: handing a tick to another and waiting for it costs more than the tick; JAX
    # reads no environment variable for this one
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # type: ignore[no-untyped-call]
    instance = options.instance
    vehicle = Vehicle(
        load_airframe(options.airframe),
        home=Home(options.home_lat, options.home_lon, options.home_alt),
        wind=options.wind,
        seed=options.seed,
        noise=options.noise,
        system=1 + instance,
    )
    protocol = Protocol(vehicle, offboard=offboard, ground=ground)
    loop = Loop(protocol, speed_factor=options.speed_factor)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    offboard.discard()
    ground.discard()
    _log.info(f"vehicle {instance + 1} is up: UDP {14540 + instance} from {14580 + instance}")
    protocol.announce()
    loop.run()


def _prepare_jax(cache: Path | None) -> None:
    """One thread, on the CPU; compiled programs are kept in `cache`. JAX reads this on import."""
    flags = os.environ.get("XLA_FLAGS", "")
    settings = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{flags} --xla_cpu_multi_thread_eigen=false".strip(),
    }
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        settings |= {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    os.environ.update(settings)


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    """The command line; argparse explains what is wrong with it and exits."""
    parser = argparse.ArgumentParser(
        prog="python -m racer.autopilot", description="An embedded vehicle that speaks as PX4 does."
    )
    parser.add_argument("--instance", type=_instance, default=0, help="PX4 instance, 0 to 99")
    parser.add_argument("--home-lat", type=float, default=47.397742, help="deg")
    parser.add_argument("--home-lon", type=float, default=8.545594, help="deg")
    parser.add_argument("--home-alt", type=float, default=489.4, help="m above sea level")
    parser.add_argument("--wind", type=_wind, default=(0.0, 0.0), help="EAST,NORTH in m/s")
    parser.add_argument("--seed", type=int, default=0, help="of sensor noise and gusts")
    parser.add_argument(
        "--noise",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="of the sensors; --no-noise: exact readings",
    )
    parser.add_argument("--speed-factor", type=_factor, default=1.0, help="of real time")
    parser.add_argument("--airframe", default="x500", help="name or TOML file")
    parser.add_argument("--compile-cache", type=Path, help="folder: the next start is quicker")
    parser.add_argument(
        "--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR")
    )
    return parser.parse_args(arguments)


def _instance(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 99:
        raise argparse.ArgumentTypeError("an instance is 0 to 99")
    return value


def _factor(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 20.0:
        raise argparse.ArgumentTypeError("a speed factor is 0.1 to 20")
    return value


def _wind(text: str) -> tuple[float, float]:
    parts = text.split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError("wind is EAST,NORTH in m/s, such as --wind=3,-1.5")
    east, north = (float(part) for part in parts)
    if not math.hypot(east, north) <= 30.0:
        raise argparse.ArgumentTypeError("wind is at most 30 m/s")
    return east, north


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # all is closed; unloading JAX would take up to a second on a busy machine
