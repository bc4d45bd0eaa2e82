"""Queues a run: resolves it to a plan, makes it durable, and hands it to the dispatcher."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import fetchml
from fetchml.admission.lab import HostState
from fetchml.config.layers import Configuration
from fetchml.daemons.worker import read_worker_state
from fetchml.errors import ConfigError, Conflict, Unavailable
from fetchml.gpus.discover import discover
from fetchml.home import Home
from fetchml.models.host import host_name
from fetchml.models.ids import new_run_id
from fetchml.models.manifest import (
    CommandRecord,
    Environment,
    GitFacts,
    Identity,
    Metadata,
    PlanTrace,
    Resources,
    RunManifest,
    Times,
)
from fetchml.models.plan import Plan
from fetchml.models.queueing import Queueing
from fetchml.models.resources import HostCapacity
from fetchml.models.status import EndReason, Queued
from fetchml.models.units import MIB, format_size
from fetchml.objects.memory import MemoryObjects
from fetchml.queueing.look import hosts_of
from fetchml.service.command import Words
from fetchml.service.resolve import Offer, Resolved, resolve
from fetchml.service.settings_record import settings_record
from fetchml.store.turns import adding

MAX_NAME = 64
MAX_NOTE_BYTES = 64 * 1024
MAX_TAGS = 64
_LOW_WATER_BYTES = 64 * MIB
"""Below this much free space nothing is accepted: runs that are running need it to end well."""


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """What a user asked for."""

    words: Words
    name: str | None = None
    note: str | None = None
    tags: tuple[str, ...] = ()
    group: str | None = None
    cwd: Path = field(default_factory=Path.cwd)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A run that is in the queue, or that would be."""

    run_id: str | None
    """None for a dry run."""
    plan: Plan
    plan_sha256: str
    name: str
    priority: int
    engine_reason: str
    notes: tuple[str, ...]
    folder: Path | None


def queue(
    request: QueueRequest,
    configuration: Configuration,
    *,
    dry_run: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Accepted:
    """Accepts a run. It is durable when this returns; dispatching it is a separate step.

    Args:
        request: What the user asked for.
        configuration: The settings of this call.
        dry_run: Resolve and check everything, store nothing.
        now: The clock.

    Raises:
        ConfigError: Something in the request makes no sense.
        Refused: Preflight or a limit says no; nothing was queued.
        Unavailable: The disk is full, or the engine does not answer; nothing was queued.
        Forbidden: The home folder cannot be written, or the key that is to sign may be known to others.
        NotFound: The record is to be signed, and there is no key.
    """
    home = Home(configuration.settings)
    check_texts(request)
    name = request.name or default_name(request.words)
    run_id = None
    if dry_run:
        resolved = resolve(request.words, configuration, home, MemoryObjects(), offer_to(request, home), request.cwd)
    else:
        home.create()
        check_space(home)
        # Until the run is there nothing refers to its objects, and some are older than it is (decision 21).
        with adding(configuration.settings.store):
            offer = offer_to(request, home)
            resolved = resolve(request.words, configuration, home, home.objects, offer, request.cwd)
            run_id = _store(home, request, resolved, configuration, name, now)
    return Accepted(
        run_id=run_id,
        plan=resolved.plan,
        plan_sha256=resolved.plan.sha256,
        name=name,
        priority=configuration.settings.priority,
        engine_reason=resolved.engine.why,
        notes=resolved.notes,
        folder=home.store.folder(run_id).path if run_id else None,
    )


def _store(
    home: Home,
    request: QueueRequest,
    resolved: Resolved,
    configuration: Configuration,
    name: str,
    now: Callable[[], datetime],
) -> str:
    git = None
    if resolved.git is not None:
        diff_object = None
        if resolved.git.diff is not None:
            with home.objects.batch() as batch:
                diff_object = batch.put_bytes(resolved.git.diff)
        git = GitFacts(
            commit=resolved.git.commit, branch=resolved.git.branch, dirty=resolved.git.dirty, diff_object=diff_object
        )
    while True:
        moment = now()
        run_id = new_run_id(moment)
        manifest = _manifest(run_id, moment, request, resolved, configuration, name, git, home.user)
        try:
            home.store.create(resolved.plan, manifest)
        except Conflict:
            continue  # one in a billion: the id is taken
        return run_id


def _manifest(
    run_id: str,
    moment: datetime,
    request: QueueRequest,
    resolved: Resolved,
    configuration: Configuration,
    name: str,
    git: GitFacts | None,
    user: str,
) -> RunManifest:
    plan, settings = resolved.plan, configuration.settings
    dependencies = plan.environment.dependencies
    return RunManifest(
        identity=Identity(
            run_id=run_id,
            name=name,
            user=user,
            host=host_name(),
            group=request.group,
            tags=request.tags,
            priority=settings.priority,
            commit_id=plan.snapshot_id,
        ),
        command=CommandRecord(argv=plan.command.argv, workdir=plan.command.workdir),
        status=Queued(since=moment),
        times=Times(queued_at=moment),
        plan=PlanTrace(
            repro_policy=resolved.policy,
            trust_level=resolved.trust.level,
            trust_evidence=resolved.trust.evidence,
            plan_sha256=plan.sha256,
        ),
        environment=Environment(
            mode=plan.environment.mode.value,
            dependencies_name=dependencies.name if dependencies else None,
            dependencies_sha256=dependencies.sha256 if dependencies else None,
            image=plan.image.reference if plan.image else None,
            image_digest=plan.image.digest if plan.image else None,
            git=git,
            fetchml=fetchml.__version__,
            settings=settings_record(configuration),
        ),
        queueing=Queueing(
            host=settings.host,
            archs=resolved.archs,
            max_retries=settings.retries_max,
            retry_on=tuple(EndReason(word) for word in settings.retries_on),
            backoff_s=settings.retries_backoff,
        ),
        resources=Resources(requested=plan.resources),
        warnings=resolved.snapshot.notes,
        metadata=Metadata(note=request.note, engine_reason=resolved.engine.why, sign=settings.seal_sign),
    )


def offer_to(request: QueueRequest, home: Home) -> Offer:
    """Returns what the lab offers: the hosts that have published, and this one by what can be seen of it."""
    hosts = hosts_of(home)
    if not (home.link is not None and hosts) and host_name() not in {host.name for host in hosts}:
        hosts = (*hosts, HostState(_seen(home)))
    largest = max(hosts, key=lambda host: (host.capacity.cpus, host.capacity.memory_bytes))
    return Offer(largest.capacity, hosts, home.user, request.group)


def _seen(home: Home) -> HostCapacity:
    """Returns what the worker of this host said it has, else what can be seen from here."""
    state = read_worker_state(home.services)
    return state.capacity if state is not None else discover(disk=home.path).capacity


def check_texts(request: QueueRequest) -> None:
    """Raises ConfigError, which names every name, tag and note that is not accepted."""
    faults: list[str] = []
    for what, text in (("name", request.name), ("group", request.group), *(("tag", tag) for tag in request.tags)):
        if text is not None and not (0 < len(text) <= MAX_NAME and text.isprintable() and text == text.strip()):
            faults.append(f"the {what} `{text[:70]!r}`: expected 1 to {MAX_NAME} printable characters")
        elif text is not None and (text.startswith(("@", "-")) or "/" in text):
            faults.append(f"the {what} `{text}`: it may not begin with `@` or `-`, or contain `/`")
    if request.note is not None and not _is_text(request.note):
        faults.append("the note is not valid UTF-8")
    if request.note is not None and len(request.note.encode("utf-8", "replace")) > MAX_NOTE_BYTES:
        faults.append(f"the note is longer than {format_size(MAX_NOTE_BYTES)}")
    if len(request.tags) > MAX_TAGS:
        faults.append(f"{len(request.tags)} tags: at most {MAX_TAGS} are accepted")
    if faults:
        raise ConfigError(
            faults[0] if len(faults) == 1 else "several values are not accepted", detail="\n".join(faults[1:]) or None
        )


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_space(home: Home) -> None:
    """Raises Unavailable if the disk is so full that runs which are running might not end well."""
    free = shutil.disk_usage(home.path).free
    if free < _LOW_WATER_BYTES:
        raise Unavailable(
            f"only {format_size(free)} are free where `{home.path}` is",
            detail=f"{format_size(_LOW_WATER_BYTES)} are kept for runs that are running",
            hint="free space, or choose another disk with FETCHML_HOME",
            code="storage-full",
        )


def default_name(words: Words) -> str:
    """Returns the name of a run whose user gave none."""
    word = words.argv[0] if words.script is None else words.script  # which may be empty: `examine` says so
    stem = Path(word).stem
    return "".join(c for c in stem if c.isprintable() and c not in "/@").strip("- ")[:MAX_NAME] or "run"
