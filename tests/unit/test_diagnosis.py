import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.diagnosis import EndFacts, diagnose
from fetchml.models.status import EndReason
from fetchml.models.units import GIB


def category(**facts: object) -> EndReason:
    return diagnose(EndFacts(**facts)).category


TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n'


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"exit_code": 0}, EndReason.OK),
        ({"exit_code": 0, "tail": "RuntimeError: CUDA out of memory\nretrying with a smaller batch"}, EndReason.OK),
        ({"exit_code": 0, "out_of_memory": True}, EndReason.OK),
        ({"exit_code": 1}, EndReason.CODE_ERROR),
        ({"exit_code": 1, "tail": TRACEBACK + "ValueError: lr"}, EndReason.CODE_ERROR),
        ({"exit_code": 255}, EndReason.CODE_ERROR),
        ({"exit_code": 139}, EndReason.CODE_ERROR),
        ({"exit_code": 143}, EndReason.CODE_ERROR),
        ({"exit_code": 137, "out_of_memory": True}, EndReason.OUT_OF_MEMORY),
        ({"exit_code": 1, "out_of_memory": True}, EndReason.OUT_OF_MEMORY),
        ({"exit_code": 137, "out_of_memory": None}, EndReason.OUT_OF_MEMORY),
        ({"exit_code": 137, "memory_limit_bytes": GIB, "memory_peak_bytes": GIB - 1}, EndReason.OUT_OF_MEMORY),
        ({"exit_code": 137, "memory_limit_bytes": GIB, "memory_peak_bytes": GIB // 2}, EndReason.INFRASTRUCTURE),
        ({"exit_code": 137, "memory_limit_bytes": GIB}, EndReason.INFRASTRUCTURE),
        ({"refused": ("image: gone",)}, EndReason.PREFLIGHT_REFUSED),
        ({"cancelled_by": "ada"}, EndReason.CANCELLED),
        ({"cancelled_by": "ada", "exit_code": 0}, EndReason.CANCELLED),
        ({"storage_full": True, "exit_code": 0}, EndReason.STORAGE_FULL),
        ({"environment_error": "no such package"}, EndReason.IMAGE_ERROR),
        ({"start_error": "no such program"}, EndReason.IMAGE_ERROR),
        ({"exit_code": 127, "tail": "./prog: 1: \x7fELF\x02\x01: not found\n"}, EndReason.IMAGE_ERROR),
        ({"data_error": "it was replaced", "exit_code": 137}, EndReason.DATA_ERROR),
        ({"lost": True}, EndReason.HOST_LOST),
        ({"timed_out": True, "exit_code": 143, "max_runtime_s": 60}, EndReason.TIMEOUT),
        ({"timed_out": True, "exit_code": 0, "max_runtime_s": 60}, EndReason.TIMEOUT),
        ({"infrastructure_error": "the engine is gone"}, EndReason.INFRASTRUCTURE),
        ({"infrastructure_error": "the log broke off", "exit_code": 0}, EndReason.INFRASTRUCTURE),
    ],
)
def test_facts_lead_to_one_category(facts, expected):
    assert category(**facts) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Failed to initialize NVML: Unknown Error", EndReason.INFRASTRUCTURE),
        ("RuntimeError: CUDA error: uncorrectable ECC error encountered", EndReason.INFRASTRUCTURE),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB", EndReason.GPU_OUT_OF_MEMORY),
        ("RuntimeError: CUDA error: out of memory", EndReason.GPU_OUT_OF_MEMORY),
        ("torch.OutOfMemoryError: HIP out of memory. Tried to allocate", EndReason.GPU_OUT_OF_MEMORY),
        ("MemoryError", EndReason.OUT_OF_MEMORY),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for", EndReason.OUT_OF_MEMORY),
        ("RuntimeError: unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)",
         EndReason.OUT_OF_MEMORY),
        ("OSError: [Errno 28] No space left on device: '/results/model.pt'", EndReason.STORAGE_FULL),
        ("OSError: [Errno 122] Disk quota exceeded", EndReason.STORAGE_FULL),
        ("OSError: [Errno 8] Exec format error: './prog'", EndReason.IMAGE_ERROR),
        ("ModuleNotFoundError: No module named 'torch'", EndReason.CODE_ERROR),
        ("OSError: [Errno 30] Read-only file system: 'out.txt'", EndReason.CODE_ERROR),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/data/mnist/train.pt'", EndReason.DATA_ERROR),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'config.json'", EndReason.CODE_ERROR),
    ],
)  # fmt: skip
def test_the_last_words_of_a_program_tell_the_cause(line, expected):
    assert category(exit_code=1, tail=TRACEBACK + line + "\n") is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("RuntimeError: [enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you",
         EndReason.OUT_OF_MEMORY),
        ("terminate called after throwing an instance of 'std::bad_alloc'", EndReason.OUT_OF_MEMORY),
        ("OSError: [Errno 12] Cannot allocate memory", EndReason.OUT_OF_MEMORY),
        ("jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 858993459",
         EndReason.GPU_OUT_OF_MEMORY),
    ],
    ids=["torch on the CPU", "C++", "fork", "JAX"],
)  # fmt: skip
def test_other_words_for_no_memory_are_known_too(line, expected):
    assert category(exit_code=1, tail=TRACEBACK + line + "\n") is expected


def test_a_word_that_begins_like_an_error_is_none():
    assert category(exit_code=1, tail="MemoryErrorPolicy: retry\nValueError: lr\n") is EndReason.CODE_ERROR


FROM_OUTSIDE_IN = [
    {"refused": ("image: gone",)},
    {"cancelled_by": "ada"},
    {"storage_full": True},
    {"environment_error": "no such package"},
    {"start_error": "no such program"},
    {"lost": True},
    {"timed_out": True},
    {"infrastructure_error": "the engine is gone"},
    {"out_of_memory": True, "exit_code": 137},
    {"exit_code": 1},
]


@pytest.mark.parametrize("place", range(len(FROM_OUTSIDE_IN) - 1))
def test_the_outer_cause_wins_over_every_inner_one(place):
    merged: dict[str, object] = {}
    for facts in reversed(FROM_OUTSIDE_IN[place:]):
        merged |= facts
    assert category(**merged) is category(**FROM_OUTSIDE_IN[place])


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"cancelled_by": "ada"}, "cancelled by ada"),
        ({"cancelled_by": "ada", "killed_by_us": True}, "cancelled by ada and was killed, as it did not stop in time"),
        ({"timed_out": True, "max_runtime_s": 5400}, "stopped after its maximum runtime of 1h30m"),
        ({"exit_code": 3}, "the program exited with code 3"),
        ({"exit_code": 139}, "the program ended by signal 11"),
        ({"exit_code": 137, "out_of_memory": True, "memory_limit_bytes": 2 * GIB}, "more memory than its limit of 2G"),
        ({"exit_code": 137, "out_of_memory": None, "memory_limit_bytes": GIB}, "most likely"),
        (
            {"exit_code": 1, "tail": "ModuleNotFoundError: No module named 'torch'"},
            "a Python package is missing: torch",
        ),
        ({"exit_code": 1, "tail": "OSError: Read-only file system: 'o.txt'"}, "where a run may not write: o.txt"),
        ({"exit_code": 1, "tail": "ModuleNotFoundError: No module named '{0}'"}, "missing: {0}"),
    ],
)
def test_the_summary_says_what_happened(facts, part):
    assert part in diagnose(EndFacts(**facts)).summary


def test_an_unknown_exit_code_is_not_shown_as_one():
    assert "None" not in diagnose(EndFacts()).summary


def test_the_evidence_is_the_last_lines_that_say_something():
    tail = "\n".join(f"line {number}\n\n" for number in range(40))
    assert diagnose(EndFacts(exit_code=1, tail=tail)).detail == "\n".join(f"line {number}" for number in range(25, 40))


def test_the_peak_of_memory_is_part_of_the_evidence():
    facts = EndFacts(exit_code=137, out_of_memory=True, memory_limit_bytes=GIB, memory_peak_bytes=GIB, tail="step 7")
    assert diagnose(facts).detail == "step 7; the highest use seen was 1G"


@pytest.mark.parametrize("facts", [facts for facts in FROM_OUTSIDE_IN if "cancelled_by" not in facts], ids=str)
def test_every_end_but_a_wanted_one_says_what_to_do_next(facts):
    assert diagnose(EndFacts(**facts)).resolution


@given(
    st.builds(
        EndFacts,
        exit_code=st.none() | st.integers(-1, 300),
        out_of_memory=st.none() | st.booleans(),
        lost=st.booleans(),
        timed_out=st.booleans(),
        max_runtime_s=st.none() | st.integers(1, 10**6),
        storage_full=st.booleans(),
        memory_limit_bytes=st.integers(0, 2**50),
        memory_peak_bytes=st.none() | st.integers(0, 2**50),
        tail=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    )
)
def test_any_facts_lead_to_a_diagnosis_that_can_be_written(facts):
    found = diagnose(facts)
    assert found.summary
    assert type(found).model_validate_json(found.model_dump_json()) == found
