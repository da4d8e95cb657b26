"""The real service with one more route that lists its asyncio tasks: are any left behind?"""

from __future__ import annotations

import asyncio
import sys

from main import create_app
from racer.process import configure_logging
from racer.settings import get_settings
from racer.web.server import serve


async def tasks() -> list[str]:
    """The coroutine of every task of the service's event loop."""
    return sorted(str(task.get_coro().__qualname__) for task in asyncio.all_tasks())


if __name__ == "__main__":
    settings = get_settings()
    configure_logging(settings.log_level, program="census")
    app = create_app(settings)
    app.get("/test/tasks")(tasks)
    sys.exit(serve(app, settings))
