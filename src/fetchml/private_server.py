"""The web application of the private Prefect server: Prefect's own, with one change for SQLite.

Prefect begins its SQLite transactions deferred. One that reads first and writes later then fails at once with
`database is locked` if another connection has written meanwhile, however long the time-out; the API answers 503, and
Prefect's clients sleep 2, 4, 8 s before they try again. Begun immediately, transactions wait their turn instead
(sqlite.org/lang_transaction.html, "Read transactions versus write transactions").
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from prefect.server.api.server import create_app as create_prefect_app
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import MODELS_DEPENDENCIES
from prefect.settings import get_current_settings


class ImmediateSqlite(AioSqliteConfiguration):
    """Prefect's SQLite configuration with transactions that take the write lock when they begin."""

    @asynccontextmanager
    async def begin_transaction(self, session: Any, with_for_update: bool = False) -> AsyncGenerator[Any]:
        """Begins a transaction; every one is as if it were for update."""
        async with super().begin_transaction(session, with_for_update=True) as transaction:
            yield transaction


def create_app() -> Any:
    """Returns the application, for `uvicorn --factory`."""
    secret = get_current_settings().server.database.connection_url
    url = secret.get_secret_value() if secret is not None else ""
    if url.startswith("sqlite"):
        MODELS_DEPENDENCIES["database_config"] = ImmediateSqlite(connection_url=url)
    return create_prefect_app()
