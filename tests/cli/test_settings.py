"""Settings: what is read from text and YAML, and the words in which the rest is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.errors import UserError
from gacer_tune.settings import (
    Settings,
    TenantSettings,
    check_settings,
    load_settings,
    parse_duration,
    parse_model,
    parse_shape,
)

_NAMES = st.text(st.characters(categories=["L", "N"], include_characters="_-#. "), min_size=1, max_size=20).filter(
    lambda name: name.strip() == name
)


def _yaml(folder: Path, text: str) -> Path:
    path = folder / "w.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _refusal(path: Path) -> str:
    with pytest.raises(UserError) as refused:
        load_settings(path)
    text = str(refused.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("det.onnx", {"path": "det.onnx", "name": "det"}),
        ("a=m/yolo.onnx:batch=4:instances=2", {"path": "m/yolo.onnx", "name": "a", "batch": 4, "instances": 2}),
        ("x.onnx:weight=2:slo_ms=12.5", {"path": "x.onnx", "name": "x", "weight": 2.0, "slo_ms": 12.5}),
        ("runs/lr=0.1/a:b.onnx", {"path": "runs/lr=0.1/a:b.onnx", "name": "a_b"}),
        ("./lr=0.1.onnx", {"path": "lr=0.1.onnx", "name": "lr_0.1"}),
        ("lr=0.1.onnx", {"path": "0.1.onnx", "name": "lr"}),
        ("n=C:dir/x.onnx:batch=2", {"path": "C:dir/x.onnx", "name": "n", "batch": 2}),
    ],
)  # fmt: skip
def test_models_are_read_from_text(text: str, expected: dict[str, object]) -> None:
    found = parse_model(text)
    assert {key: getattr(found, key) for key in expected} == expected | {"path": Path(str(expected["path"]))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x.onnx:bach=2", "model 'x.onnx:bach=2': unknown key 'bach', did you mean 'batch'?"),
        ("x.onnx:batch=two", "model 'x.onnx:batch=two': batch: 'two' was given, allowed: an integer"),
        ("x.onnx:batch=0", "model 'x.onnx:batch=0': batch: 0 was given, allowed: at least 1"),
        ("x.onnx:batch=1:batch=2", "model 'x.onnx:batch=1:batch=2': batch was given twice"),
        ("x.onnx:instances=65", "model 'x.onnx:instances=65': instances: 65 was given, allowed: at most 64"),
        ("", "model '': path: '' was given, allowed: a path"),
        ("n=", "model 'n=': path: '' was given, allowed: a path"),
        ("=x.onnx", "model '=x.onnx': name: '' was given, allowed: "
                    "1 to 100 printable characters without / : = and outer spaces"),
        ("a\x1b[31m=x.onnx", "model 'a\\x1b[31m=x.onnx': name: 'a\\x1b[31m' was given, allowed: "
                             "1 to 100 printable characters without / : = and outer spaces"),
    ],
)  # fmt: skip
def test_other_models_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_model(text)
    assert str(refused.value) == message


@given(_NAMES, st.integers(1, 10**6), st.integers(1, 64))
def test_every_name_batch_and_count_comes_back(name: str, batch: int, instances: int) -> None:
    found = parse_model(f"{name}=some/dir:x/m.onnx:batch={batch}:instances={instances}")
    assert (found.name, found.batch, found.instances, found.path) == (name, batch, instances, Path("some/dir:x/m.onnx"))


@given(_NAMES, st.text(min_size=1).filter(lambda t: "=" not in t), st.lists(st.integers(1, 10**6), min_size=1))
def test_every_shape_comes_back(tenant: str, port: str, dims: list[int]) -> None:
    text = f"{tenant}:{port}={'x'.join(map(str, dims))}"
    assert parse_shape(text) == (tenant, port, tuple(dims))


@pytest.mark.parametrize(
    "text", ["", "det", "det:x", "det=1x3", "det:=1x3", ":x=1", "det:x=", "det:x=1x0", "det:x=1xa"]
)
def test_other_shapes_are_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_shape(text)
    assert str(refused.value) == f"--shape {text}: allowed: TENANT:INPUT=DIMS, as in det:images=1x3x640x640"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("120s", 120.0), ("2m", 120.0), ("1.5h", 5400.0), ("500ms", 0.5), (" 3s ", 3.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "2 weeks", "1e3", "nan", "inf", "2m30s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_duration(text)
    assert str(refused.value) == (
        f"duration {text!r}: allowed: a number above 0 of seconds, or with a unit as in 90s, 2m, 1.5h"
    )


def test_a_file_gives_everything_and_its_paths_are_its_own(tmp_path: Path) -> None:
    text = """
tenants:
  - det.onnx:batch=4
  - {path: sub/seg.onnx, name: s, shapes: {image: 1x3x8x8, mask: [2, 2]}, weight: 2, slo_ms: 30}
budget: 2m
lanes: 2
objective: slo
out: results
cache: /var/kernels
resume: true
batch: 3
"""
    values = load_settings(_yaml(tmp_path, text))
    assert values.pop("batch") == 3
    settings = check_settings(values)
    first, second = settings.tenants
    assert (first.path, first.batch, first.name) == (tmp_path / "det.onnx", 4, "det")
    assert (second.path, second.name, second.slo_ms) == (tmp_path / "sub/seg.onnx", "s", 30)
    assert second.shapes == {"image": (1, 3, 8, 8), "mask": (2, 2)}
    assert (settings.budget_s, settings.lanes, settings.resume) == (120.0, 2, True)
    assert (settings.out, settings.cache) == (tmp_path / "results", Path("/var/kernels"))
    assert set(values) == {"tenants", "budget_s", "lanes", "objective", "out", "cache", "resume"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- det.onnx", "not a YAML mapping of keys to values, as in `tenants: [det.onnx, seg.onnx]`"),
        ("", "not a YAML mapping of keys to values, as in `tenants: [det.onnx, seg.onnx]`"),
        ("1: 2", "not a YAML mapping of keys to values, as in `tenants: [det.onnx, seg.onnx]`"),
        ("a: [1", "not YAML in line 1: expected ',' or ']', but got '<stream end>'"),
        ("lanes: 1\n\tx: 2", "not YAML in line 2: found character '\\t' that cannot start any token"),
        ("!!python/object/apply:os.system [ls]", "not YAML in line 1: "
         "could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("lanes: 1\nlanes: 2", "key 'lanes' was given twice"),
        ("tenants: [{path: a.onnx, path: b.onnx}]", "key 'path' was given twice"),
        ("lans: 2", "unknown key 'lans', did you mean 'lanes'?"),
        ("dry-run: true", "unknown key 'dry-run', did you mean 'dry_run'?"),
        ("budget_ms: 3", "unknown key 'budget_ms', did you mean 'budget'?"),
        ("tenants: [{path: a.onnx, nam: x}]", "unknown key 'tenants[0].nam', did you mean 'name'?"),
        ("tenants: [{name: x}]", "tenants[0].path: missing"),
        ("tenants: []", "tenants: [] was given, allowed: at least one"),
        ("tenants: det.onnx", "tenants: 'det.onnx' was given, allowed: a list"),
        ("tenants: [3]", "tenants[0]: 3 was given, allowed: a mapping, or text as in det.onnx:batch=4"),
        ("tenants: [{path: a.onnx, shapes: {x: [1, 0]}}]", "tenants[0].shapes.x[1]: 0 was given, allowed: at least 1"),
        ("tenants: [{path: a.onnx, shapes: {x: 1xb}}]",
         "tenants[0].shapes.x: '1xb' was given, allowed: dimensions as in 1x3x224x224"),
        ("tenants: [{path: a.onnx, weight: .inf}]", "tenants[0].weight: inf was given, allowed: a finite number"),
        ("lanes: two", "lanes: 'two' was given, allowed: an integer"),
        ("lanes: true", "lanes: True was given, allowed: an integer"),
        ("lanes: 0", "lanes: 0 was given, allowed: at least 1"),
        ("budget: -3", "budget: -3 was given, allowed: above 0"),
        ("budget: 0s", "budget: 0.0 was given, allowed: above 0"),
        ("budget: soon", "budget: 'soon' was given, allowed: "
                         "a number above 0 of seconds, or with a unit as in 90s, 2m, 1.5h"),
        ("target: gpu", "target: 'gpu' was given, allowed: 'cpu' or 'cuda'"),
        ("resume: 1", "resume: 1 was given, allowed: true or false"),
        ("out: 3", "out: 3 was given, allowed: a path"),
        ("batch: 0", "batch: 0 was given, allowed: an integer, at least 1"),
        ("seed: -1\ntrials: x", "trials: 'x' was given, allowed: an integer; seed: -1 was given, allowed: at least 0"),
        ("tenants: [a.onnx]\nobjective: slo", "objective slo: no tenant has an slo_ms, at least one must"),
        ("tenants: [{path: a.onnx, name: x}, {path: b.onnx, name: x}]",
         "name 'x' was given to 2 tenants, names must differ; choose them, NAME=PATH"),
        ("tenants: [{path: a.onnx, name: x}, {path: a.onnx, name: x}]",
         "name 'x' was given to 2 tenants, names must differ; choose them, NAME=PATH"),
        ("tenants: [a/d.onnx, b/d.onnx]", "name 'd' was given to 2 tenants, names must differ; choose them, NAME=PATH"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_said_in_one_message(tmp_path: Path, text: str, message: str) -> None:
    assert _refusal(_yaml(tmp_path, text)) == message


def test_no_file_a_folder_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    assert _refusal(tmp_path / "none.yaml") == "cannot be read: no such file or folder"
    assert _refusal(tmp_path) == "cannot be read: it is a folder"
    assert _refusal(_yaml(tmp_path, "#" * (1 << 20) + "\n")) == "more than 1048576 bytes, no settings are that long"
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"out: \xe9")
    assert _refusal(path) == "not YAML: it cannot be read"


def test_aliases_that_multiply_are_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert _refusal(_yaml(tmp_path, "\n".join(lines))).startswith("unknown key 'a0', allowed: tenants, target")


def test_instances_and_repeated_files_are_numbered() -> None:
    settings = Settings(
        tenants=(parse_model("det.onnx"), parse_model("seg.onnx:instances=2"), parse_model("det.onnx:batch=2"))
    )
    assert [tenant.name for tenant in settings.tenants] == ["det#1", "seg#1", "seg#2", "det#2"]
    assert [tenant.batch for tenant in settings.tenants] == [None, None, None, 2]
    assert {tenant.instances for tenant in settings.tenants} == {1}
    assert settings.tenants[1].path == settings.tenants[2].path
    again = Settings(tenants=settings.tenants)
    assert again == settings


def test_a_chosen_name_is_kept_beside_a_default_one() -> None:
    settings = Settings(
        tenants=(parse_model("det.onnx"), parse_model("other=det.onnx"), parse_model("n=x.onnx:instances=2"))
    )
    assert [tenant.name for tenant in settings.tenants] == ["det", "other", "n#1", "n#2"]


def test_settings_do_not_change() -> None:
    settings = Settings(tenants=(TenantSettings(path=Path("a.onnx")),))
    with pytest.raises(ValueError, match="frozen"):
        settings.lanes = 3
    assert (settings.target, settings.budget_s, settings.strategy, settings.out) == (
        "cpu",
        120.0,
        "evolve",
        Path("out"),
    )
