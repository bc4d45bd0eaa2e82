"""An environment maker that makes nothing: for tests of what comes after."""

from dataclasses import dataclass, field

from fetchml.environment.build import BuildFailed, BuiltEnvironment
from fetchml.environment.maker import EnvironmentRequest


@dataclass(slots=True)
class MemoryEnvironments:
    """Environments that are always ready, or never.

    Attributes:
        error: What building fails with; None succeeds.
        requests: What was asked for, in order.
    """

    error: str | None = None
    requests: list[EnvironmentRequest] = field(default_factory=list[EnvironmentRequest])

    def make(self, request: EnvironmentRequest) -> BuiltEnvironment:
        self.requests.append(request)
        if self.error is not None:
            raise BuildFailed(self.error)
        image = request.plan.image.digest if request.plan.image else None
        return BuiltEnvironment(python="3.12.0", packages=("numpy==2.0.0",), image=image)
