"""`python -m racer seed`: sample data for a first look."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from racer.errors import RacerError

if TYPE_CHECKING:
    from database import Database
    from racer.settings import Settings

HELP = "add a sample account with drone models, and a trained policy if wanted"
EXAMPLES = """\
Adds what is missing, so that it may be said twice. SEED_DB=true does the same at each start of the
service, which then trains the first model.

  python -m racer seed
  python -m racer seed --with-model
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--with-model", action="store_true", help="train the first model now: about 20 seconds"
    )


def run(options: argparse.Namespace) -> int:
    """Seed, and train if wanted."""
    from database import Database  # noqa: PLC0415 - SQLAlchemy
    from racer.settings import get_settings  # noqa: PLC0415
    from racer.upkeep.seeding import sow  # noqa: PLC0415

    settings = get_settings()
    database = Database(settings.effective_database_url)
    try:
        database.upgrade()
        with database.session() as session:
            username, drone_id = sow(session)
        print(f"{username} has its drone models.")
        if options.with_model:
            asyncio.run(_train(settings, database, drone_id))
    finally:
        database.dispose()
    return 0


async def _train(settings: Settings, database: Database, drone_id: str) -> None:
    """Until its policy is kept; a service that runs beside us may be the one that trains."""
    from racer.policies.service import PolicyService  # noqa: PLC0415
    from racer.training.service import TrainingService  # noqa: PLC0415

    async with (
        PolicyService(settings, database) as policies,
        TrainingService(settings, database.session_factory) as training,
    ):
        run_id = await training.start(drone_id)
        async for message in training.follow(drone_id, run_id=run_id):
            if "error" in message:
                raise RacerError(f"The training did not finish: {message['error']}")
            if "epoch" in message:
                print(f"epoch {message['epoch']}: accuracy {message['accuracy']:.2f}", flush=True)
        policy_id, _ = await policies.keep_run(run_id)
        print(f"Its policy is {policy_id}.")
