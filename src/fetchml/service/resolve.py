"""Turns what a user typed into a plan: the project, the command, the engine, the environment, the resources.

Nothing is stored but content-addressed objects, so a dry run resolves through the same code and gets the same hash.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from fetchml import durable
from fetchml.admission.lab import HostState
from fetchml.config.layers import Configuration
from fetchml.config.settings import Settings
from fetchml.datasets.digest import check_present
from fetchml.datasets.oversight import overseen
from fetchml.engine.choose import Chosen, choose
from fetchml.engine.port import ImageFacts
from fetchml.environment.detect import UNSUPPORTED, Dependencies, detect, passed_over
from fetchml.environment.pins import unpinned
from fetchml.errors import ConfigError, FetchmlError, Refused
from fetchml.execution.staged import way_of
from fetchml.home import Home
from fetchml.models.dataset import default_mount, parse_spec
from fetchml.models.manifest import ReproPolicy
from fetchml.models.plan import (
    Command,
    DatasetPlan,
    DependencyManifest,
    EngineKind,
    EnvironmentMode,
    EnvironmentPlan,
    ImagePlan,
    Network,
    Plan,
)
from fetchml.models.resources import Arch, GpuVendor, HostCapacity, ResourceRequest
from fetchml.models.units import GIB
from fetchml.objects.memory import MemoryObjects
from fetchml.objects.port import ObjectStore
from fetchml.preflight.check import Facts, Fault, check
from fetchml.preflight.trust import Trust, TrustFacts, trust
from fetchml.service.command import Words, command_of
from fetchml.service.engines import engine_maker
from fetchml.service.invalid import first_fault
from fetchml.snapshot.capture import Snapshot, capture
from fetchml.snapshot.found import Limits
from fetchml.snapshot.git import GitState, git_state, git_top

_T = TypeVar("_T")
_DEFAULT_CPUS = 2.0
_DEFAULT_MEMORY = 8 * GIB


@dataclass(frozen=True, slots=True)
class Resolved:
    """A plan that passed preflight, and what was found on the way to it."""

    plan: Plan
    snapshot: Snapshot
    git: GitState | None
    engine: Chosen
    policy: ReproPolicy
    trust: Trust
    notes: tuple[str, ...]
    """What the user should know about choices made for them."""
    archs: tuple[str, ...] = ()
    """Instruction sets its image is for; empty: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What a command resolves to as far as that is clear, and everything that keeps it out of the queue."""

    policy: ReproPolicy
    root: Path
    """Root of the project."""
    command: Command | None
    engine: Chosen | None
    image: ImagePlan | None
    snapshot: Snapshot | None
    environment: EnvironmentPlan | None
    resources: ResourceRequest | None
    plan: Plan | None
    """None where a part of it is not clear."""
    git: GitState | None
    trust: Trust | None
    errors: tuple[FetchmlError, ...]
    """What kept a part from being clear, in the order of the steps."""
    faults: tuple[Fault, ...]
    """Checks that failed, those of `errors` among them."""
    notes: tuple[str, ...]
    archs: tuple[str, ...] = ()
    """Instruction sets its image is for; empty: any."""

    def accepted(self) -> Resolved:
        """Returns the whole, if nothing is wrong.

        Raises:
            FetchmlError: The one error there is, or a Refused that names every fault.
        """
        if self.errors and len(self.faults) == 1:
            raise self.errors[0]
        if self.faults:
            lines = [f"- {fault}\n  {fault.hint}" for fault in self.faults]
            count = len(self.faults)
            raise Refused(
                "preflight refused the run" if count == 1 else f"preflight refused the run: {count} faults",
                detail="\n".join(lines),
                code="preflight-refused",
            )
        assert self.plan and self.snapshot and self.engine and self.trust  # noqa: S101, PT018  # no fault, so all is clear
        return Resolved(
            self.plan, self.snapshot, self.git, self.engine, self.policy, self.trust, self.notes, self.archs
        )


class _Steps:
    """Takes steps that may fail, so that one fault does not hide the next."""

    def __init__(self) -> None:
        self.errors: list[FetchmlError] = []
        self.faults: list[Fault] = []

    def take(self, check: str, expected: str, step: Callable[[], _T]) -> _T | None:
        """Returns what a step returns, or None and notes why it failed."""
        try:
            return step()
        except FetchmlError as error:
            if error.code == durable.STORAGE_FULL:
                raise
            self.errors.append(error)
            actual = ": ".join(filter(None, (error.summary, error.detail)))
            self.faults.append(Fault(check, expected, actual, error.hint or ""))
            return None


@dataclass(frozen=True, slots=True)
class Offer:
    """What the lab offers to whom."""

    capacity: HostCapacity
    """The largest host, which defaults are made for."""
    hosts: tuple[HostState, ...] = ()
    """All hosts, in whatever state; empty: the one is all there is."""
    user: str = ""
    group: str | None = None

    @property
    def vendors(self) -> tuple[GpuVendor, ...]:
        """Makers of the GPUs there are, sorted."""
        hosts = self.hosts or (HostState(self.capacity),)
        return tuple(sorted({device.vendor for host in hosts for device in host.capacity.devices}))


def resolve(
    words: Words, configuration: Configuration, home: Home, objects: ObjectStore, offer: Offer, cwd: Path
) -> Resolved:
    """Resolves a command to a plan that passed preflight; see `examine`.

    Raises:
        ConfigError: The command makes no sense: a missing script, a folder, an unknown form.
        Refused: Preflight found faults; all of them are named.
        Unavailable: The engine that was asked for does not answer.
        NotFound: The image is not on this host.
    """
    command_of(words, project_root(configuration, cwd), cwd)  # what was mistyped comes first, and alone
    return examine(words, configuration, home, objects, offer, cwd).accepted()


def examine(
    words: Words, configuration: Configuration, home: Home, objects: ObjectStore, offer: Offer, cwd: Path
) -> Examined:
    """Resolves a command as far as it goes and collects everything that is wrong with it.

    Args:
        words: What was typed.
        configuration: The settings of this call.
        home: The home folder.
        objects: Where the snapshot is captured to.
        offer: What the lab offers.
        cwd: The user's current folder.

    Raises:
        Unavailable: The disk is full.
    """
    settings = configuration.settings
    policy: ReproPolicy = "strict" if settings.repro_policy == "strict" else "best-effort"
    root = project_root(configuration, cwd)
    steps = _Steps()
    command = steps.take("command", "a command that can run", lambda: command_of(words, root, cwd))
    chosen = steps.take(
        "engine", "an engine that answers", lambda: choose(settings.engine, home.engines, engine_maker(settings))
    )
    # Docker and Podman are asked for the image before the tree is read: that is the fault a newcomer meets.
    base = chosen and steps.take("image", "an image of this host", lambda: _image(chosen, configuration))
    image = ImagePlan(reference=base.reference, digest=base.digest) if base else None
    resources = steps.take("resources", "a request within bounds", lambda: _request(settings, offer))
    signed_by = steps.take("signature", "a key to sign with", home.keys.check) if settings.seal_sign else None
    isolates = chosen is None or chosen.engine.kind.isolates
    asked = [_dataset_step(steps, text, home, isolates=isolates) for text in settings.dataset_specs]
    datasets = tuple(item for item in asked if item is not None)
    # What is refused anyway leaves nothing behind.
    kept = MemoryObjects() if steps.errors else objects
    limits = limits_of(settings)
    files = None if isinstance(kept, MemoryObjects) else home.known_files
    snapshot = steps.take(
        "snapshot", "a code tree that can be captured", lambda: capture(root, kept, limits, home.path, files)
    )
    dependencies = environment = None
    if snapshot is not None and chosen is not None:
        folder = command.workdir if command else ""
        clear = steps.take(
            "dependencies",
            "a whole manifest",
            lambda: (detect(snapshot.tree, kept, folder, settings.environment_manifest),),
        )
        if clear is not None:
            (dependencies,) = clear
            environment = steps.take(
                "environment",
                "an environment that can be made",
                lambda: _environment(settings, dependencies, chosen.engine.kind),
            )
    plan = None
    if not steps.errors and command and chosen and snapshot and environment and resources:
        plan = steps.take(
            "plan",
            "values that can be hashed",
            lambda: _checked_plan(
                snapshot_id=snapshot.commit_id,
                command=command,
                environment=environment,
                engine=chosen.engine.kind,
                image=image,
                resources=resources,
                network=Network(settings.network),
                env=dict(sorted(settings.env.items())),
                datasets=datasets,
            ),
        )
    facts = Facts(
        capacity=offer.capacity,
        hosts=offer.hosts,
        host=settings.host,
        user=offer.user,
        group=offer.group,
        policy=policy,
        command=command,
        environment=environment,
        engine=chosen.engine.kind if chosen else None,
        image=image,
        image_architecture=base.architecture if base else "",
        engine_architecture=chosen.facts.architecture if chosen else "",
        resources=resources,
        network=Network(settings.network),
        datasets=datasets,
        as_is_chosen=settings.environment_mode == "as-is",
        script_present=_has_script(snapshot, command) if snapshot and command else None,
        workdir_present=_has_folder(snapshot, command.workdir) if snapshot and command else None,
    )
    git = git_state(root) if plan is not None else None
    known = TrustFacts(
        snapshot_verified=snapshot is not None,
        unpinned=unpinned(dependencies, kept) if dependencies else None,
        git_commit=git.commit if git else None,
        git_dirty=git.dirty if git else None,
        signed_by=signed_by,
    )
    return Examined(
        policy=policy,
        root=root,
        command=command,
        engine=chosen,
        image=image,
        snapshot=snapshot,
        environment=environment,
        resources=resources,
        plan=plan,
        git=git,
        trust=trust(plan, known) if plan is not None else None,
        errors=tuple(steps.errors),
        faults=(*steps.faults, *check(facts)),
        notes=_notes(snapshot, dependencies, settings, known.unpinned) if snapshot else (),
        archs=_archs(base),
    )


def _archs(image: ImageFacts | None) -> tuple[str, ...]:
    """Returns the instruction sets a run is bound to by its image, as hosts name them."""
    return (image.architecture,) if image is not None and image.architecture in tuple(Arch) else ()


def project_root(configuration: Configuration, cwd: Path) -> Path:
    """Returns the folder of fetchml.yaml, else the repository, else the current folder."""
    if configuration.project_file is not None:
        return configuration.project_file.parent
    top = git_top(cwd)
    return top if top is not None and top != Path.home() else cwd


def limits_of(settings: Settings) -> Limits:
    """Returns what a code tree may be."""
    return Limits(
        settings.snapshot_max_bytes,
        settings.snapshot_max_files,
        settings.snapshot_allow_secrets,
        settings.snapshot_other_file_systems,
    )


def _checked_plan(**fields: Any) -> Plan:
    try:
        plan = Plan(**fields)
    except ValidationError as error:
        raise ConfigError("the plan is not accepted", detail=first_fault(error)) from error
    plan.canonical  # noqa: B018  # raises ConfigError on text that canonical JSON cannot hold
    return plan


def _request(settings: Settings, offer: Offer) -> ResourceRequest:
    """Defaults shrink to a small lab; what a user asks for does not."""
    capacity = offer.capacity
    least, most = settings.gpu_memory or (None, None)
    try:
        return ResourceRequest(
            gpus=settings.gpus,
            gpu_memory_bytes=least,
            gpu_memory_max_bytes=most,
            gpu_vendor=_vendor(settings, offer) if settings.gpus else None,
            gpu_model=settings.gpu_model,
            arch=None if settings.arch == "any" else Arch(settings.arch),
            disk_bytes=settings.disk,
            cpus=settings.cpus or min(_DEFAULT_CPUS, capacity.cpus),
            memory_bytes=settings.memory or min(_DEFAULT_MEMORY, capacity.memory_bytes // 2),
            shm_bytes=settings.shm,
            max_runtime_s=settings.max_runtime,
        )
    except ValidationError as error:
        raise ConfigError("the resources asked for are not accepted", detail=first_fault(error)) from error


def _vendor(settings: Settings, offer: Offer) -> GpuVendor | None:
    """Returns the maker the devices must have: what is written for one runs on no other."""
    if settings.gpu_vendor == "any":
        return None
    if settings.gpu_vendor != "auto":
        return GpuVendor(settings.gpu_vendor)
    vendors = offer.vendors
    if len(vendors) > 1:
        raise ConfigError(
            f"there are GPUs of {' and '.join(vendors)}, and what is written for one runs on no other",
            hint=f"say which: `--gpu-vendor {vendors[0]}`, or `--gpu-vendor any`",
            code="vendor-not-chosen",
        )
    return vendors[0] if vendors else None


def _dataset_step(steps: _Steps, text: str, home: Home, *, isolates: bool) -> DatasetPlan | None:
    return steps.take("dataset", "a dataset that is here", lambda: _dataset(text, home, isolates=isolates))


def _dataset(text: str, home: Home, *, isolates: bool) -> DatasetPlan:
    """Returns what a spec means today. The worker compares the content, before the start."""
    spec = parse_spec(text)
    found = home.datasets.find(spec)
    path = found.path
    if path is not None and way_of(found, home) != "cache":
        overseen(lambda: home.check_data_place(path), path, home.oversight())
    if path is not None and way_of(found, home) == "in-place":
        check_present(path, home.oversight())
    mount = spec.mount or (default_mount(found.name) if isolates else None)
    return DatasetPlan(name=found.name, checksum=found.checksum, mount=mount)


def _image(chosen: Chosen, configuration: Configuration) -> ImageFacts | None:
    if not chosen.engine.kind.isolates:
        if configuration.origins["image"].layer == "flag":
            raise ConfigError("`--image` needs a container engine", detail=f"the engine is `process`: {chosen.why}")
        return None
    return chosen.engine.image(configuration.settings.image)


def _environment(settings: Settings, dependencies: Dependencies | None, engine: EngineKind) -> EnvironmentPlan:
    mode = settings.environment_mode
    if mode == "locked" and dependencies is None:
        raise Refused(
            "no dependency manifest was found",
            detail="`environment.mode` is locked",
            hint="add a uv.lock, pylock.toml or requirements.txt, or set `environment.mode: as-is`",
            code="no-dependencies",
        )
    if dependencies is not None and mode != "as-is":
        manifest = DependencyManifest(name=dependencies.name, sha256=dependencies.sha256)
        python = None if engine.isolates else settings.environment_python or _python_version()
        return EnvironmentPlan(mode=EnvironmentMode.LOCKED, dependencies=manifest, python=python)
    interpreter = None if engine.isolates else _interpreter(settings.environment_python)
    return EnvironmentPlan(mode=EnvironmentMode.AS_IS, python=interpreter)


def _interpreter(wanted: str | None) -> str:
    found = shutil.which(wanted or "python") or (None if wanted else shutil.which("python3"))
    if found is None:
        raise ConfigError(f"there is no Python `{wanted or 'python3'}`", hint="set `environment.python` to its path")
    return os.path.abspath(found)


def _python_version() -> str:
    """Returns major.minor of the Python the user would get by typing `python`."""
    interpreter = _interpreter(None)
    command = [interpreter, "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"`{interpreter}` does not run", detail=str(error)) from error


def _notes(
    snapshot: Snapshot, dependencies: Dependencies | None, settings: Settings, loose: tuple[str, ...] | None
) -> tuple[str, ...]:
    notes = list(snapshot.notes)
    if dependencies is not None and loose:
        notes.append(f"`{dependencies.name}` does not pin every version: another day may install others (`uv lock`)")
    if dependencies is None and settings.environment_mode == "auto":
        others = passed_over(snapshot.tree)
        if others:
            way = UNSUPPORTED.get(others[0])
            why = f"is not built from; {way}" if way else "is taken if `environment.manifest` names it"
            notes.append(f"`{others[0]}` was passed over: it {why}")
        if settings.repro_policy != "strict":
            notes.append("no dependency manifest found: the Python of the image or host is used as it is")
    return tuple(notes)


def _has_script(snapshot: Snapshot, command: Command) -> bool | None:
    return None if command.script is None else snapshot.tree.find(command.script) is not None


def _has_folder(snapshot: Snapshot, workdir: str) -> bool | None:
    if not workdir:
        return None
    prefix = workdir.encode() + b"/"
    return any(entry.path.startswith(prefix) for entry in snapshot.tree.entries)
