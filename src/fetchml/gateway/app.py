"""The application: every route of the gateway, behind its door."""

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.types import ASGIApp

from fetchml.gateway import content, hosts, received, runs
from fetchml.gateway.lab import Lab
from fetchml.gateway.rules import GRANTS, HANDLERS, Doorkeeper, Permission, Rule
from fetchml.keys.access import AccessKind
from fetchml.models.plan import Plan


def _nowhere(run_id: str, plan: Plan) -> None:
    """Hands a run to nobody: it is found in the store."""


def all_rules(lab: Lab, dispatch: runs.Dispatch = _nowhere) -> list[Rule]:
    """Returns every route but those of streams and of Prefect."""
    return [
        *runs.rules(lab, dispatch),
        *received.rules(lab),
        *content.rules(lab),
        *hosts.rules(lab),
    ]


def create_app(
    lab: Lab,
    dispatch: runs.Dispatch = _nowhere,
    grants: Mapping[AccessKind, frozenset[Permission]] = GRANTS,
) -> ASGIApp:
    """Returns the gateway of a lab.

    Args:
        lab: What is served.
        dispatch: Called with each run that was accepted.
        grants: What a key may do, by its kind.
    """
    routes = [rule.route(grants) for rule in all_rules(lab, dispatch)]
    inner = Starlette(routes=routes, exception_handlers=HANDLERS)
    inner.router.redirect_slashes = False
    return Doorkeeper(inner, lab.keys)
