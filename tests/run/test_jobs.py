# ruff: noqa: E501 (a table with one case a line)
"""Job files: every kind of malformed one is refused in one line that says where and what is valid."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from outgrad.errors import JobError
from outgrad.labels.labels import Labels
from outgrad.run.arguments import LabelsArgument, Reference
from outgrad.run.jobs import read_job
from outgrad.tensor.map import TensorMap

GOOD = """\
version: 1
inputs:  {rho: soap.zarr}
steps:
  - {name: h, op: multiply, args: [rho, rho]}
  - {name: total, op: sum_over_samples, args: [h], sample_names: [atom]}
outputs: {h: squared.zarr, total: total.mts}
"""


def multiply(A: TensorMap, B: TensorMap | float) -> TensorMap: ...
def sum_over_samples(tensor: TensorMap, sample_names: list[str] | str) -> TensorMap: ...
def join(tensors: list[TensorMap], axis: str, *, different_keys: str = "error") -> TensorMap: ...
def slice(tensor: TensorMap, axis: str, selection: Labels) -> TensorMap: ...
def add_all(*maps: TensorMap) -> TensorMap: ...
def equal(tensor_1: TensorMap, tensor_2: TensorMap) -> bool: ...


OPERATIONS = {f.__name__: f for f in (multiply, sum_over_samples, join, slice, add_all, equal)}


def read(folder: Path, text: str | bytes) -> Any:
    path = folder / "job.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_job(path, OPERATIONS)


def with_steps(*steps: str) -> str:
    lines = "".join(f"  - {{{step}}}\n" for step in steps)
    return (
        f"version: 1\ninputs: {{rho: soap.zarr, v: other.mts}}\nsteps:\n{lines}outputs: {{rho: out.zarr}}\n"
    )


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_job_is_read_with_its_lines(tmp_path: Path) -> None:
    job = read(tmp_path, GOOD)
    assert [(file.name, file.path) for file in job.inputs] == [("rho", tmp_path / "soap.zarr")]
    assert [(step.name, step.operation.name, step.line) for step in job.steps] == [
        ("h", "multiply", 4),
        ("total", "sum_over_samples", 5),
    ]
    assert job.steps[0].args == (Reference("rho"), Reference("rho"))
    assert job.steps[1].args == (Reference("h"),)
    assert job.steps[1].kwargs == {"sample_names": ["atom"]}
    assert [(file.name, file.path.name) for file in job.outputs] == [
        ("h", "squared.zarr"),
        ("total", "total.mts"),
    ]


def test_text_is_a_name_only_where_a_map_is_expected(tmp_path: Path) -> None:
    job = read(tmp_path, with_steps("name: a, op: join, args: [[rho, v], rho], different_keys: v"))
    assert job.steps[0].args == ([Reference("rho"), Reference("v")], "rho")
    assert job.steps[0].kwargs == {"different_keys": "v"}


def test_references_by_name_numbers_and_variable_arguments(tmp_path: Path) -> None:
    job = read(
        tmp_path,
        with_steps(
            "name: a, op: multiply, A: rho, B: 2.5",
            "name: b, op: add_all, args: [rho, a, v]",
        ),
    )
    assert job.steps[0].kwargs == {"A": Reference("rho"), "B": 2.5}
    assert job.steps[1].args == (Reference("rho"), Reference("a"), Reference("v"))


def test_labels_are_written_as_names_and_values(tmp_path: Path) -> None:
    selection = "{names: [system, atom], values: [[0, 1], [2, -3]]}"
    job = read(tmp_path, with_steps(f"name: a, op: slice, args: [rho, samples], selection: {selection}"))
    assert job.steps[0].kwargs == {"selection": LabelsArgument(("system", "atom"), ((0, 1), (2, -3)))}


def test_steps_can_be_left_out_to_convert(tmp_path: Path) -> None:
    job = read(tmp_path, "version: 1\ninputs: {a: a.mts}\noutputs: {a: a.zarr}\n")
    assert job.steps == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1e-6", 1e-6),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("+.INF", float("inf")),
        (".5e1", 5.0),
        ("0x1F", 31),
        ("0o17", 15),
        ("-0x10", "-0x10"),
        ("0b1", "0b1"),
        ("1" * 301, "1" * 301),
        ("'.inf'", ".inf"),
        ("010", 10),
        ("+3", 3),
        ("'1'", "1"),
        ("no", "no"),
        ("1_0", "1_0"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("true", True),
        ("~", None),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(tmp_path: Path, text: str, found: Any) -> None:
    step = read(tmp_path, with_steps(f"name: a, op: join, args: [[rho], x], different_keys: {text}")).steps[0]
    assert step.kwargs["different_keys"] == found
    assert type(step.kwargs["different_keys"]) is type(found)


def test_not_a_number_is_a_number(tmp_path: Path) -> None:
    step = read(tmp_path, with_steps("name: a, op: join, args: [[rho], x], different_keys: .NaN")).steps[0]
    assert math.isnan(step.kwargs["different_keys"])


ARGUMENTS = "its arguments are A, B"
MALFORMED: list[tuple[str | bytes, str]] = [
    # the file
    ("", "job.yaml:1: the job must be a mapping, found nothing"),
    ("- 1\n", "job.yaml:1: the job must be a mapping, found a list"),
    ("# long\n" + "x: " + "y" * 70000, "job.yaml: the job is larger than 64 KiB"),
    (b"version: 1\ninputs: {a: \xff.zarr}\n", "job.yaml:2: not UTF-8 text"),
    (b"version: 1\ninputs: {a: \x00.zarr}\n", "job.yaml:1: not valid YAML: it holds a character that YAML does not allow"),
    ("version: 1\ninputs: {a: b.zarr\n", "job.yaml:3: not valid YAML: expected ',' or '}', but got '<stream end>'"),
    ("version: 1\n\tinputs: \n", "job.yaml:2: not valid YAML: found character '\\t' that cannot start any token"),
    (GOOD + "---\n" + GOOD, "job.yaml:7: a second document starts here; one file holds one"),
    ("%YAML 9.9\n---\n" + GOOD, "job.yaml:1: not valid YAML: found incompatible YAML document (version 1.* is required)"),
    # what the grammar leaves out
    (changed("{rho: soap.zarr}", "&a {rho: soap.zarr}"), "job.yaml:2: anchors and aliases (& and *) are not allowed; write the value out"),
    (changed("outputs: {h: squared.zarr", "outputs: {h: *a"), "job.yaml:6: anchors and aliases (& and *) are not allowed; write the value out"),
    (changed("soap.zarr", "!!python/object/apply:os.system [id]"), "job.yaml:2: the tag 'tag:yaml.org,2002:python/object/apply:os.system' is not allowed; write plain values"),
    (changed("version: 1", "version: !!int '1'"), "job.yaml:1: the tag 'tag:yaml.org,2002:int' is not allowed; write plain values"),
    (changed("soap.zarr", "[" * 900 + "]" * 900), "job.yaml:2: nested deeper than 20 levels"),
    (changed("{rho: soap.zarr}", "{rho: soap.zarr, rho: other.zarr}"), "job.yaml:2: the key 'rho' is used twice; the first is on line 2"),
    (changed("steps:", "version: 1\nsteps:"), "job.yaml:3: the key 'version' is used twice; the first is on line 1"),
    (changed("{rho:", "{7:"), "job.yaml:2: a key must be text, found a number 7; put it in quotes"),
    (changed("{rho:", "{true:"), "job.yaml:2: a key must be text, found true or false True; put it in quotes"),
    (changed("{rho:", "{[a]:"), "job.yaml:2: a key must be text, found a list; put it in quotes"),
    (changed("{rho:", "{? [" + "[" * 900 + "]" * 900 + "] :"), "job.yaml:2: nested deeper than 20 levels"),
    (changed("{rho:", '{"\\ud800":'), "job.yaml:2: half of a pair of surrogates is not a character"),
    (changed("soap.zarr", '"\\udc80.zarr"'), "job.yaml:2: half of a pair of surrogates is not a character"),
    (changed("{rho:", "{<<: {a: b.zarr}, rho:"), "job.yaml:2: inputs.<< must be text, found a mapping"),
    # the frame
    (changed("version: 1", "version: 1.0"), "job.yaml:1: version must be a whole number, found a number 1.0"),
    (changed("version: 1", "version: 0x2"), "job.yaml:1: version 2 is not known to this release; it reads 1"),
    (changed("steps:", "'a` - at `$.steps[0].op`': 1\nsteps:"), "job.yaml:3: unknown key 'a` - at `$.steps[0].op`' in the job; known are: version, inputs, outputs, steps"),
    (changed("version: 1\n", ""), "job.yaml:1: the job has no 'version'"),
    (changed("version: 1", "version: 2"), "job.yaml:1: version 2 is not known to this release; it reads 1"),
    (changed("version: 1", "version: one"), "job.yaml:1: version must be a whole number, found text 'one'"),
    (changed("version: 1", "version: true"), "job.yaml:1: version must be a whole number, found true or false True"),
    (changed("outputs:", "output:"), "job.yaml:6: unknown key 'output' in the job; did you mean 'outputs'?"),
    (changed("steps:", "cluster: local\nsteps:"), "job.yaml:3: unknown key 'cluster' in the job; known are: version, inputs, outputs, steps"),
    (changed("outputs: {h: squared.zarr, total: total.mts}", ""), "job.yaml:1: the job has no 'outputs'"),
    # inputs and outputs
    (changed("{rho: soap.zarr}", "[soap.zarr]"), "job.yaml:2: inputs must be a mapping, found a list"),
    (changed("{rho: soap.zarr}", "{}"), "job.yaml:2: the job has no inputs; name at least one"),
    (changed("{rho: soap.zarr}", "{rho: [soap.zarr]}"), "job.yaml:2: inputs.rho must be text, found a list"),
    (changed("{rho: soap.zarr}", "{rho: }"), "job.yaml:2: inputs.rho must be text, found nothing"),
    (changed("{rho: soap.zarr}", "{rho: ''}"), "job.yaml:2: input 'rho': '' must end in one of .zarr, .mts, .npz"),
    (changed("soap.zarr", "soap.hdf5"), "job.yaml:2: input 'rho': 'soap.hdf5' must end in one of .zarr, .mts, .npz"),
    (changed("total.mts", "total"), "job.yaml:6: output 'total': 'total' must end in one of .zarr, .mts, .npz"),
    (changed("{rho: soap.zarr}", "{rh o: soap.zarr}"), "job.yaml:2: input 'rh o': names start with a letter or _ and go on with letters, digits, _ and -"),
    (changed("soap.zarr", '"a\\0.zarr"'), "job.yaml:2: input 'rho': a\\x00.zarr: the path has a null character; no name can have one"),
    (changed("total: total.mts", "totals: total.mts"), "job.yaml:6: output 'totals' is neither an input nor a step; did you mean 'total'?"),
    (changed("squared.zarr", "soap.zarr"), "job.yaml:6: output 'h': soap.zarr is also the path of input 'rho' (line 2); choose another path"),
    (changed("squared.zarr", "x/../soap.zarr"), "job.yaml:6: output 'h': soap.zarr is also the path of input 'rho' (line 2); choose another path"),
    (changed("total.mts", "./squared.zarr"), "job.yaml:6: output 'total': squared.zarr is also the path of output 'h' (line 6); choose another path"),
    (changed("total.mts", "squared.zarr/a.mts"), "job.yaml:6: output 'total': a.mts lies inside output 'h' (line 6); choose another path"),
    (changed("soap.zarr", "squared.zarr/soap.zarr"), "job.yaml:6: output 'h': squared.zarr contains input 'rho' (line 2); choose another path"),
    (changed("soap.zarr", "$HOME/soap.zarr"), "job.yaml:2: input 'rho': $HOME/soap.zarr: variables such as $HOME are not expanded; write the path out, or use ~ (or os.path.expandvars in Python)"),
    (changed("soap.zarr", "'${X}.zarr'"), "job.yaml:2: input 'rho': ${X}.zarr: variables such as ${X} are not expanded; write the path out, or use ~ (or os.path.expandvars in Python)"),
    (changed("total.mts", "$(pwd)/total.mts"), "job.yaml:6: output 'total': $(pwd)/total.mts: variables such as $(pwd) are not expanded; write the path out, or use ~ (or os.path.expandvars in Python)"),
    (changed("soap.zarr", "ftp://bucket/soap.zarr"), "job.yaml:2: input 'rho': ftp://bucket/soap.zarr: URLs of this kind are not supported; archives are at s3://, gs:// and az://, and are read at http(s):// too"),
    (changed("soap.zarr", "s3://bucket/soap.mts"), "job.yaml:2: input 'rho': s3://bucket/soap.mts: object stores keep archives alone, whose names end in .zarr; save one, and make another file of it on a disk with `outgrad convert`"),
    (changed("soap.zarr", "~no_such_user/soap.zarr"), "job.yaml:2: input 'rho': ~no_such_user/soap.zarr: there is no user 'no_such_user'; for a folder of this name write ./~no_such_user/soap.zarr"),
    # steps
    (changed("steps:\n", "stepz: \nsteps:\n"), "job.yaml:3: unknown key 'stepz' in the job; did you mean 'steps'?"),
    ("version: 1\ninputs: {a: a.mts}\nsteps: {}\noutputs: {a: b.mts}\n", "job.yaml:3: steps must be a list, found a mapping"),
    (with_steps("name: a, op: multiply, args: [rho, v]") .replace("{name", "[name").replace("v]}", "v]]"), "job.yaml:4: steps[0] must be a mapping, found a list"),
    (with_steps("op: multiply"), "job.yaml:4: steps[0] has no 'name'"),
    (with_steps("name: 3, op: multiply"), "job.yaml:4: steps[0].name must be text, found a number 3"),
    (with_steps("name: a b, op: multiply"), "job.yaml:4: step 'a b': names start with a letter or _ and go on with letters, digits, _ and -"),
    (with_steps("name: rho, op: multiply"), "job.yaml:4: step 'rho': the name is used already, on line 2"),
    (with_steps("name: a, op: add_all", "name: a, op: add_all"), "job.yaml:5: step 'a': the name is used already, on line 4"),
    (with_steps("name: a"), "job.yaml:4: steps[0] has no 'op'"),
    (with_steps("name: a, op: [multiply]"), "job.yaml:4: steps[0].op must be text, found a list"),
    (with_steps("name: a, op: sum_over_sample"), "job.yaml:4: step 'a': unknown operation 'sum_over_sample'; did you mean 'sum_over_samples'?"),
    (with_steps("name: a, op: os.system"), "job.yaml:4: step 'a': unknown operation 'os.system'; known are: add_all, equal, join, multiply, slice, sum_over_samples"),
    (with_steps("name: a, op: equal, args: [rho, v]"), "job.yaml:4: step 'a': equal does not give a TensorMap; a step must"),
    # arguments
    (with_steps("name: a, op: multiply, args: rho"), "job.yaml:4: steps[0].args must be a list, found text 'rho'"),
    (with_steps("name: a, op: multiply, args: [rho]"), f"job.yaml:4: step 'a': multiply: missing a required argument: 'B'; {ARGUMENTS}"),
    (with_steps("name: a, op: multiply, args: [rho, v, 3]"), f"job.yaml:4: step 'a': multiply: too many positional arguments; {ARGUMENTS}"),
    (with_steps("name: a, op: multiply, args: [rho, v], A: rho"), f"job.yaml:4: step 'a': multiply: multiple values for argument 'A'; {ARGUMENTS}"),
    (with_steps("name: a, op: sum_over_samples, args: [rho], samples_names: [x]"), "job.yaml:4: step 'a': sum_over_samples has no argument 'samples_names'; did you mean 'sample_names'?"),
    (with_steps("name: a, op: multiply, args: [rhoo, v]"), "job.yaml:4: step 'a': unknown input or step 'rhoo' for the argument 'A'; did you mean 'rho'?"),
    (with_steps("name: a, op: multiply, args: [b, v]", "name: b, op: add_all, args: [rho]"), "job.yaml:4: step 'a': the argument 'A' is the step 'b' of line 5; a step can use inputs and earlier steps only"),
    (with_steps("name: a, op: multiply, args: [a, v]"), "job.yaml:4: step 'a': the argument 'A' is the step 'a' of line 4; a step can use inputs and earlier steps only"),
    (with_steps("name: a, op: multiply, args: [2, v]"), "job.yaml:4: step 'a': the argument 'A' must be the name of an input or an earlier step, found a number 2"),
    (with_steps("name: a, op: join, args: [[rho, w], samples]"), "job.yaml:4: step 'a': unknown input or step 'w' for the argument 'tensors'; known are: rho, v"),
    (with_steps("name: a, op: slice, args: [rho, samples, {system: [0]}]"), "job.yaml:4: step 'a': the argument 'selection' must be Labels in the form {names: [system], values: [[0], [1]]}"),
    (with_steps("name: a, op: slice, args: [rho, samples, {names: [a, b], values: [[0]]}]"), "job.yaml:4: step 'a': the argument 'selection': each row of values needs 2 integers, found [0]"),
    (with_steps("name: a, op: slice, args: [rho, samples, {names: [a], values: [[true]]}]"), "job.yaml:4: step 'a': the argument 'selection' must be Labels in the form {names: [system], values: [[0], [1]]}"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MALFORMED)
def test_a_malformed_job_is_refused_in_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(JobError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == message


def test_a_value_on_a_later_line_is_reported_at_its_key(tmp_path: Path) -> None:
    text = "version: 1\ninputs:\n  a: a.mts\nsteps:\n  - name: b\n    op: multiply\n    args:\n      - a\n      - x\noutputs: {a: b.mts}\n"
    with pytest.raises(JobError, match=r"^job\.yaml:9: step 'b': unknown input or step 'x'"):
        read(tmp_path, text)


def test_a_missing_job_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        JobError, match=r"^no\.yaml: cannot read the job: No such file or directory: .*/no\.yaml$"
    ):
        read_job(tmp_path / "no.yaml", OPERATIONS)


def test_many_aliases_cost_nothing(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{k}: &{k} [*{j}, *{j}]\n" for j, k in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(JobError, match=r"^job\.yaml:1: anchors and aliases"):
        read(tmp_path, bomb)


def test_home_directories_and_file_urls_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    job = read(tmp_path, changed("soap.zarr", "~/soap.zarr").replace("total.mts", f"file://{tmp_path}/t.mts"))
    assert job.inputs[0].path == tmp_path / "home/soap.zarr"
    assert job.outputs[1].path == tmp_path / "t.mts"


def test_a_name_that_looks_like_a_variable_can_be_there(tmp_path: Path) -> None:
    (tmp_path / "$HOME.zarr").mkdir()
    assert read(tmp_path, changed("soap.zarr", "$HOME.zarr")).inputs[0].path == tmp_path / "$HOME.zarr"
