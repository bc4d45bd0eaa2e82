"""What `fetchml host` and `fetchml user` share."""

from typing import TYPE_CHECKING

from fetchml.cli import session

if TYPE_CHECKING:
    from fetchml.keys.access import AccessKey


def show_keys(keys: "list[AccessKey]", empty: str, *, json: bool) -> None:
    """Prints who has a key."""
    if json:
        session.print_json(
            {
                "schema_version": 1,
                "keys": [{"name": key.name, "created_at": f"{key.created_at:%Y-%m-%dT%H:%M:%SZ}"} for key in keys],
            }
        )
    elif keys:
        rows = [(key.name, f"{key.created_at:%Y-%m-%d %H:%M}") for key in keys]
        session.print_line(session.table(("NAME", "CREATED"), rows))
    else:
        session.note(empty)
