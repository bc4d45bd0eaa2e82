from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from fetchml.models.base import Model, UtcTime


class Note(Model):
    at: UtcTime
    count: int = 0


def test_a_time_with_another_offset_becomes_utc():
    noon_in_tokyo = datetime(2026, 11, 20, 12, 0, tzinfo=timezone(timedelta(hours=9)))
    assert Note(at=noon_in_tokyo).model_dump_json() == '{"at":"2026-11-20T03:00:00Z","count":0}'


def test_a_time_without_an_offset_is_refused():
    with pytest.raises(ValidationError, match="offset from UTC"):
        Note(at=datetime(2026, 11, 20, 12, 0))  # noqa: DTZ001  # what is refused


@pytest.mark.parametrize("text", ['{"at": 1795000000}', '{"at": "yesterday"}', '{"at": "2026-11-20T12:00:00"}', "{}"])
def test_a_time_in_json_is_rfc_3339_text(text):
    with pytest.raises(ValidationError):
        Note.model_validate_json(text)


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+01:00"])
def test_a_time_that_utc_cannot_express_is_refused(moment):
    with pytest.raises(ValidationError):
        Note.model_validate_json(f'{{"at": "{moment}"}}')


def test_a_model_is_frozen():
    note = Note(at=datetime(2026, 11, 20, tzinfo=UTC))
    with pytest.raises(ValidationError):
        note.count = 2


@pytest.mark.parametrize("rest", ['"count": "1"', '"count": 1.5', '"count": true', '"other": 1', '"count": null'])
def test_nothing_is_coerced_and_nothing_unknown_is_taken(rest):
    with pytest.raises(ValidationError):
        Note.model_validate_json(f'{{"at": "2026-11-20T12:00:00Z", {rest}}}')
