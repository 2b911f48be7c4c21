# ruff: noqa: E501 (a table with one case a line)
"""Cluster specifications: what is read from them, and what is refused."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import dask
import pytest
import yaml

from outgrad.errors import JobError
from outgrad.graph.workers import Workers
from outgrad.run import ClusterSpec, SchedulerAddress, embedded, read_where
from outgrad.run.cluster import cluster_class, connect
from tests.support import ROOT

GOOD = "module: distributed\nclass: LocalCluster\n"
MIB = 2**20


def read(folder: Path, text: str) -> ClusterSpec:
    path = folder / "mine.yaml"
    path.write_text(text)
    where = read_where(path)
    assert isinstance(where, ClusterSpec)
    return where


def test_a_specification_is_read(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        GOOD
        + "args: [a]\nkwargs: {n_workers: 3}\nadapt: {minimum: 2}\nwait: 2 minutes\nenvironment: {A_B: 1, C: x}\n"
        "config:\n  distributed:\n    comm: {retry: {count: 5}}\n    worker.memory: {spill: false, rebalance: {}}\n",
    )
    assert spec == ClusterSpec(
        source="mine.yaml",
        module="distributed",
        class_name="LocalCluster",
        args=("a",),
        kwargs={"n_workers": 3},
        adapt={"minimum": 2},
        wait_seconds=120.0,
        environment={"A_B": "1", "C": "x"},
        config={
            "distributed.comm.retry.count": 5,
            "distributed.worker.memory.spill": False,
            "distributed.worker.memory.rebalance": {},
        },
    )


@pytest.mark.parametrize(
    ("kwargs", "limits"),
    [
        ("memory_limit: 768MiB, threads_per_worker: 2", (768 * MIB, 2)),
        ("memory_limit: 1000000", (1000000, 1)),
        ("cores: 8, processes: 4, memory: 16GiB", (4096 * MIB, 2)),
        ("cores: 1, memory: 1GiB", (1024 * MIB, 1)),
        ("memory_limit: auto", (None, 1)),
        ("n_workers: 1", (None, 1)),
    ],
)
def test_limits_of_a_worker_are_known_before_it_starts(
    tmp_path: Path, kwargs: str, limits: tuple[int, int]
) -> None:
    workers = read(tmp_path, GOOD + f"kwargs: {{{kwargs}}}\n").workers
    assert (workers.limit_bytes, workers.threads) == limits


def test_workers_on_this_machine_share_its_memory() -> None:
    two = embedded().workers.limit_bytes
    eight = embedded(workers=8).workers.limit_bytes
    assert two is not None
    assert eight is not None
    assert abs(two - 4 * eight) < 8
    assert embedded(workers=3, threads=2, memory_limit=500 * MIB).workers == Workers(
        3, 2, limit_bytes=500 * MIB, spills=False
    )
    assert embedded(workers=3).kwargs["n_workers"] == 3


def test_addresses_and_scheduler_files(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text("{}")
    assert read_where("tls://10.0.0.1:8786") == SchedulerAddress(address="tls://10.0.0.1:8786")
    assert read_where(str(file)) == SchedulerAddress(file=file)
    assert read_where(None) == embedded()


def test_the_slurm_specification_can_be_read() -> None:
    spec = read_where(ROOT / "cluster/slurm.yaml")
    assert isinstance(spec, ClusterSpec)
    assert (spec.workers.limit_bytes, spec.workers.threads) == (4096 * MIB, 1)
    assert spec.kwargs["security"] is True


def test_slurm_workers_get_the_settings_of_local_ones() -> None:
    local = yaml.safe_load((ROOT / "cluster/local.yaml").read_text())
    prologue = yaml.safe_load((ROOT / "cluster/slurm.yaml").read_text())["kwargs"]["job_script_prologue"]
    exported = dict(word.split("=") for line in prologue for word in line.removeprefix("export ").split())
    for name, value in local["environment"].items():
        assert exported.pop(name) == str(value)
    memory = local["config"]["distributed"]["worker"]["memory"]
    for name in ("target", "spill", "pause"):
        assert exported.pop(f"DASK_DISTRIBUTED__WORKER__MEMORY__{name.upper()}") == str(memory[name])
    assert exported == {
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "15s",
        "DASK_DISTRIBUTED__COMM__RETRY__COUNT": "1",
    }


MALFORMED = [
    ("module: distributed\n", "mine.yaml:1: the cluster specification has no 'class'"),
    (GOOD + "kwarg: {}\n", "mine.yaml:3: unknown key 'kwarg' in the cluster specification; did you mean 'kwargs'?"),
    (GOOD + "kwargs: [1]\n", "mine.yaml:3: kwargs must be a mapping, found a list"),
    (GOOD + "args: {}\n", "mine.yaml:3: args must be a list, found a mapping"),
    ("module: os; import x\nclass: A\n", "mine.yaml:1: module must be a Python name, found text 'os; import x'"),
    ("module: [os]\nclass: A\n", "mine.yaml:1: module must be text, found a list"),
    (GOOD + "environment: {a=b: 1}\n", "mine.yaml:3: environment: 'a=b' cannot be the name of a variable"),
    (GOOD + "environment: {A: [1]}\n", "mine.yaml:3: environment.A must be a number or text, found a list"),
    (GOOD + "environment: {A: true}\n", "mine.yaml:3: environment.A must be a number or text, found true or false True"),
    (GOOD + "wait: soon\n", "mine.yaml:3: wait must be a time such as '10 minutes', found text 'soon'"),
    (GOOD + "kwargs: !!python/name:os.system {}\n", "mine.yaml:3: the tag 'tag:yaml.org,2002:python/name:os.system' is not allowed; write plain values"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MALFORMED)
def test_a_malformed_specification_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(JobError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("local", r"cluster 'local': expected a specification \(\*\.yaml\), an address \(tcp://host:port\) or a scheduler file"),
        ("none.yaml", r"none\.yaml: cannot read the cluster specification: No such file or directory: none\.yaml"),
        ("none.json", r"cluster 'none\.json': there is no such scheduler file; is the scheduler running\?"),
    ],
)  # fmt: skip
def test_what_is_no_cluster_is_refused(name: str, message: str) -> None:
    with pytest.raises(JobError, match=f"^{message}"):
        read_where(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("module: no_such_module\nclass: A\n", r"mine\.yaml: cannot import 'no_such_module': No module named"),
        ("module: dask_jobqueue.no\nclass: A\n", r"mine\.yaml: cannot import 'dask_jobqueue\.no' \(pip install 'outgrad\[slurm\]'\)"),
        ("module: distributed\nclass: LokalCluster\n", r"mine\.yaml: the module 'distributed' has no class 'LokalCluster'"),
        ("module: os\nclass: system\n", r"mine\.yaml: the module 'os' has no class 'system'"),
        ("module: subprocess\nclass: Popen\n", r"mine\.yaml: subprocess\.Popen is not a cluster class such as distributed\.LocalCluster"),
    ],
)  # fmt: skip
def test_only_cluster_classes_are_started(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(JobError, match=f"^{message}"):
        cluster_class(read(tmp_path, text))


def test_a_module_that_takes_ctrl_c_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dask_jobqueue does so when it is imported: a job would then end without closing its cluster."""
    text = "import signal, sys\nfrom distributed import LocalCluster\n"
    text += "signal.signal(signal.SIGINT, lambda *_: sys.exit())\n"
    (tmp_path / "takes_ctrl_c.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    cluster_class(read(tmp_path, "module: takes_ctrl_c\nclass: LocalCluster\n"))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_cluster_that_does_not_start_is_a_clear_error(tmp_path: Path) -> None:
    spec = read(tmp_path, GOOD + "kwargs: {security: 7}\n")
    with (
        pytest.raises(JobError, match=r"^mine\.yaml: LocalCluster did not start: security must be"),
        connect(spec),
    ):
        pass


def test_settings_are_taken_back(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        "module: distributed\nclass: LocalCluster\nkwargs: {security: 7}\nenvironment: {OUTGRAD_TEST: 1, PATH: x}\n"
        "config: {distributed: {comm: {retry: {count: 7}}}}\n",
    )
    before, count = dict(os.environ), dask.config.get("distributed.comm.retry.count")
    with pytest.raises(JobError), connect(spec):
        pass
    assert dict(os.environ) == before
    assert dask.config.get("distributed.comm.retry.count") == count


WRONG_VALUES = [
    ("kwargs: {n_workers: two}\n", "mine.yaml:3: kwargs.n_workers must be a whole number, found text 'two'"),
    ("kwargs: {n_workers: 0}\n", "mine.yaml:3: kwargs.n_workers must be a whole number >= 1, found a number 0"),
    ("kwargs:\n  threads_per_worker: 1.5\n", "mine.yaml:4: kwargs.threads_per_worker must be a whole number, found a number 1.5"),
    ("kwargs: {cores: -4, memory: 1GiB}\n", "mine.yaml:3: kwargs.cores must be a whole number >= 1, found a number -4"),
    ("kwargs: {cores: 4, memory: lots}\n", "mine.yaml:3: kwargs.memory must be a size such as '16GiB', found text 'lots'"),
    ("kwargs: {memory_limit: -1}\n", "mine.yaml:3: kwargs.memory_limit must be a size such as '16GiB', found a number -1"),
    ("kwargs: {memory_limit: .nan}\n", "mine.yaml:3: kwargs.memory_limit must be a size such as '16GiB', found a number nan"),
    ("kwargs: {memory_limit: [1]}\n", "mine.yaml:3: kwargs.memory_limit must be a size such as '16GiB', found a list"),
    ("adapt: {minimum: some}\n", "mine.yaml:3: adapt.minimum must be a whole number, found text 'some'"),
    ("wait: -5\n", "mine.yaml:3: wait must be a time such as '10 minutes', found a number -5"),
    ("wait: .inf\n", "mine.yaml:3: wait must be a time such as '10 minutes', found a number inf"),
    ("wait: true\n", "mine.yaml:3: wait must be a number or text, found true or false True"),
    ('environment: {A: "a\\0b"}\n', "mine.yaml:3: environment.A holds a character that no variable can hold"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG_VALUES)
def test_a_wrong_value_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(JobError) as caught:
        read(tmp_path, GOOD + text)
    assert str(caught.value) == message
