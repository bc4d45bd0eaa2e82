"""What the queue knows of a run apart from its plan: what cannot change a result, but when and how often it starts."""

from pydantic import Field

from fetchml.models.base import Model, UtcTime
from fetchml.models.status import EndReason

RETRIED = (EndReason.INFRASTRUCTURE, EndReason.HOST_LOST)
"""Ends that say nothing about the run itself."""


class Queueing(Model):
    """How a run is queued and tried again."""

    host: str | None = Field(default=None, description="The one host it may go to; null means any")
    archs: tuple[str, ...] = Field(default=(), description="Instruction sets its image is for; empty means any")
    max_retries: int = Field(default=0, ge=0, le=20, description="Further attempts it may have")
    retry_on: tuple[EndReason, ...] = Field(default=RETRIED, description="Ends after which it is tried again")
    backoff_s: int = Field(
        default=30, ge=0, description="Seconds before the second attempt; each further one waits twice as long"
    )
    moved_up_at: UtcTime | None = Field(default=None, description="When it was put in front of all others")
    moved_up_by: str | None = Field(default=None, description="Who did that")


class AttemptRecord(Model):
    """An attempt that ended and was followed by another one."""

    attempt: int = Field(ge=1, description="Number of the attempt")
    host: str = Field(description="Host it was on")
    device_ids: tuple[str, ...] = Field(default=(), description="GPUs it had")
    started_at: UtcTime | None = Field(description="When the payload started; null if it never did")
    ended_at: UtcTime = Field(description="When it ended, or when it was clear that it would not start")
    exit_code: int | None = Field(description="Exit code of the payload; null if it never started or is unknown")
    end_reason: EndReason = Field(description="Why it ended")
    summary: str = Field(description="Why, in one sentence")
    flow_run_id: str | None = Field(default=None, description="Its flow run in Prefect")
