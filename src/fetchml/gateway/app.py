"""The application: every route of the gateway, behind its door."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.types import ASGIApp

from fetchml.gateway import content, hosts, received, runs, verbs
from fetchml.gateway.lab import Lab
from fetchml.gateway.prefect import PrefectProxy
from fetchml.gateway.rules import GRANTS, HANDLERS, Doorkeeper, Permission, Rule
from fetchml.gateway.streams import Streams
from fetchml.keys.access import AccessKind
from fetchml.models.plan import Plan

_PARTS_KEPT_S = 7 * 24 * 3600


def _nowhere(run_id: str, plan: Plan) -> None:
    """Hands a run to nobody: it is found in the store."""


def all_rules(lab: Lab, dispatch: runs.Dispatch = _nowhere) -> list[Rule]:
    """Returns every route but those of streams and of Prefect."""
    return [
        *runs.rules(lab, dispatch),
        *received.rules(lab),
        *content.rules(lab),
        *hosts.rules(lab),
        *verbs.rules(lab),
    ]


def create_app(
    lab: Lab,
    dispatch: runs.Dispatch = _nowhere,
    grants: Mapping[AccessKind, frozenset[Permission]] = GRANTS,
    proxy: PrefectProxy | None = None,
) -> ASGIApp:
    """Returns the gateway of a lab.

    Args:
        lab: What is served.
        dispatch: Called with each run that was accepted.
        grants: What a key may do, by its kind.
        proxy: Prefect, if it is served as well.
    """
    routes = [
        *(rule.route(grants) for rule in all_rules(lab, dispatch)),
        *Streams(lab, grants).routes(),
        *(proxy.routes() if proxy is not None else []),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        if proxy is not None:
            await proxy.close()

    inner = Starlette(routes=routes, exception_handlers=HANDLERS, lifespan=lifespan)
    inner.router.redirect_slashes = False
    return Doorkeeper(inner, lab.keys)


def tidy(lab: Lab) -> None:
    """Removes parts of files that nobody has gone on with for a week."""
    with suppress(OSError):
        for partial in (lab.home.path / "gateway" / "incoming").iterdir():
            with suppress(OSError):
                if time.time() - partial.stat().st_mtime > _PARTS_KEPT_S:
                    partial.unlink()
