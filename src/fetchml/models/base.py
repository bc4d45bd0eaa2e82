"""The pydantic base of every saved shape: frozen, strict, unknown keys refused."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Model(BaseModel):
    """A value that is written to disk or sent to another process."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="strings")


def _aware_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset from UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time outside the calendar") from None


UtcTime = Annotated[datetime, AfterValidator(_aware_utc)]
"""A moment, always aware and in UTC; RFC 3339 in JSON."""
