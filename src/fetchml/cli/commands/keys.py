"""`fetchml keys`."""

from typing import TYPE_CHECKING

from fetchml.cli import session
from fetchml.cli.options import Json, Quiet, command_app, configuration

if TYPE_CHECKING:
    from fetchml.keys.ring import Key

app = command_app("Keys that records are signed with.")


@app.callback()
def _group() -> None:
    """Keys that records are signed with."""


@app.command()
def init(json: Json = False, quiet: Quiet = False) -> None:
    """Make the first key. `--sign` and the setting `seal.sign` use it."""
    from fetchml.service.keys_init import init_keys

    _show_made(init_keys(configuration().settings), json=json)


@app.command("list")
def list_all(json: Json = False, quiet: Quiet = False) -> None:
    """Show the keys of this host, with the public keys that others need to trust them."""
    from fetchml.service.keys_list import list_keys

    keys = list_keys(configuration().settings)
    if json:
        session.print_json({"schema_version": 1, "keys": [_as_json(key) for key in keys]})
    elif keys:
        rows = [
            (
                key.key_id,
                session.style("active", "green") if key.active else "retired",
                f"{key.created_at:%Y-%m-%d %H:%M}",
                f"{key.retired_at:%Y-%m-%d %H:%M}" if key.retired_at else "",
                key.public_key,
            )
            for key in keys
        ]
        session.print_line(session.table(("KEY", "STATE", "CREATED", "RETIRED", "PUBLIC KEY"), rows))
    else:
        session.note("there are no keys; `fetchml keys init` makes one")
    for key in keys:
        if key.exposed:
            session.note(f"warning: others may read key `{key.key_id}`; it signs nothing until that is mended")


@app.command()
def rotate(json: Json = False, quiet: Quiet = False) -> None:
    """Make a new key that signs from now on. The old one stays for verification."""
    from fetchml.service.keys_rotate import rotate_keys

    _show_made(rotate_keys(configuration().settings), json=json)


def _show_made(key: "Key", *, json: bool) -> None:
    if json:
        session.print_json({"schema_version": 1, **_as_json(key)})
        return
    session.print_line(f"key         {key.key_id}")
    session.print_line(f"public key  {key.public_key}")
    session.note("records are signed with `fetchml queue --sign`, or always with the setting `seal.sign`")


def _as_json(key: "Key") -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "public_key": key.public_key,
        "created_at": _text(key.created_at.isoformat()),
        "active": key.active,
        "retired_at": _text(key.retired_at.isoformat()) if key.retired_at else None,
    }


def _text(moment: str) -> str:
    return moment.replace("+00:00", "Z")
