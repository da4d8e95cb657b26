"""A server process that only keeps policies, for tests that kill it.

python -m tests.policies.keeper DATA_DIR DATABASE_URL
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from database import Database
from racer.policies.service import PolicyService
from racer.process import die_with_parent
from racer.settings import Settings


async def main(data_dir: str, url: str) -> None:
    settings = Settings(_env_file=None, data_dir=Path(data_dir), database_url=url)
    async with PolicyService(settings, Database(settings.effective_database_url)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(main(*sys.argv[1:]))
