"""`fetchml config`."""

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration

app = command_app("Show the settings and where they come from.")


@app.callback()
def _group() -> None:
    """Show the settings and where they come from."""


@app.command()
def show(json: Json = False, quiet: Quiet = False) -> None:
    """Show every setting, its value, where the value came from, and what it means."""
    from fetchml.config.layers import variable_of
    from fetchml.config.settings import by_key

    loaded = configuration()
    entries = [
        (key, item.metadata["kind"].show(getattr(loaded.settings, item.name)), loaded.origins[key], item.metadata)
        for key, item in by_key().items()
    ]
    if json:
        session.print_json(
            {
                "schema_version": 1,
                "settings": {
                    key: {
                        "value": value,
                        "layer": origin.layer,
                        "from": origin.place,
                        "variable": variable_of(key),
                        "scope": metadata["scope"].value,
                        "description": metadata["description"],
                    }
                    for key, value, origin, metadata in entries
                },
            }
        )
        return
    rows = [
        (
            key,
            session.safe(_shown(value)),
            origin.layer,
            session.safe(origin.place) if origin.layer != "default" else "",
        )
        for key, value, origin, _ in entries
    ]
    session.print_line(session.table(("SETTING", "VALUE", "LAYER", "FROM"), rows))


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}={content}" for name, content in value.items()) or "none"  # pyright: ignore[reportUnknownVariableType]
    return f"{value:g}" if isinstance(value, float) else str(value)
