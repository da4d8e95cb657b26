"""The node that dies is seen: a real one, whose status /readyz turns into a 503."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from tests.control.rig import run, serving, slot_settings, until


def test_a_node_that_no_longer_spins_is_not_called_healthy(tmp_path: Path) -> None:
    def broken() -> None:
        raise RuntimeError("the middleware is gone")

    async def story() -> None:
        async with serving(settings) as rig:
            assert rig.control.status()["ros"] is True
            with capture_logs() as logs:
                rig.control._bridge._node.create_timer(0.01, broken)
                await until("the notice", lambda: rig.control.status()["ros"] is False)
            died = [entry for entry in logs if entry["event"].startswith("The ROS 2 node died")]
            assert len(died) == 1
            assert died[0]["exc_info"]

    with slot_settings(tmp_path) as settings:
        run(story())
