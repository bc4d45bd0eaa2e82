from pathlib import Path

import pytest
from pydantic import ValidationError

from fetchml.models.claim import CancelRequest, Claim, ClaimKind
from fetchml.testing.builders import MOMENT, make_claim

DATA = Path(__file__).parents[2] / "data"


def test_a_claim_survives_being_written_and_read():
    claim = make_claim(device_ids=("GPU-1",), flow_run_id="f", waited_for=("needs 1 gpus, 0 free",))
    assert Claim.model_validate_json(claim.model_dump_json()) == claim


@pytest.mark.parametrize(
    "changes",
    [
        {"attempt": 0},
        {"token": "0" * 31},
        {"cpus": -1},
        {"memory_bytes": -1},
        {"kind": "run"},
        {"schema_version": 2},
        {"token": None},
        {"owner": "eve"},
    ],
)
def test_a_malformed_claim_is_refused(changes):
    with pytest.raises(ValidationError):
        make_claim(**changes)


def test_a_saved_claim_of_version_1_is_read_for_ever():
    claim = Claim.model_validate_json((DATA / "claims" / "1" / "run.json").read_bytes())
    assert (claim.kind, claim.attempt, claim.device_ids) == (ClaimKind.RUN, 1, ("GPU-5a0d",))


def test_a_saved_request_to_stop_of_version_1_is_read_for_ever():
    request = CancelRequest.model_validate_json((DATA / "claims" / "1" / "cancel.json").read_bytes())
    assert request == CancelRequest(by="ada", at=MOMENT, reason="wrong learning rate")
