"""`python -m tests.bench`: what runs, what is kept, and the page made of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gacer_tune.store.journal import Journal
from models import MODELS
from tests.bench.__main__ import FailedError, gacer_tune, main
from tests.bench.chart import LEFT, MOST, RIGHT, WIDTH, chart
from tests.bench.records import Entry, newest
from tests.bench.render import HEAD, TITLES, geomean, markdown
from tests.bench.sets import ALONE, BATCHES, HOW, QUANTIZED, SETS, TOGETHER, entries, model_of
from tests.bench.support import document, record

GOLDEN = """

- machine: Some CPU, avx2, 2 of 4 cores
- versions: gacer-tune 0.1.0, onnxruntime 1.31.1
- measured: 2025-03-04, 20 rounds, tuned for 20s each
- command: `python -m tests.bench`

![Ratios of the peers' times to ours](benchmarks.svg)

## Alone, batch 1

|  | ours | ours sequential | onnxruntime | ratio | openvino | ratio | ratio to best | p |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| resnet18 | 10.0 ms | 12.0 ms | 20.0 ms (sequential) | 2.00 | 16.0 ms (sequential) | 1.60 | **1.60** | 0.001 |
| lstm | 1.00 ms | 1.20 ms | 900 us (sequential) | 0.90 | cannot run it |  | **0.90** | 0.9 |
| geometric mean |  |  |  | 1.34 |  | 1.60 | 1.20 |  |

Against the best peer of each entry: geometric mean 1.20, minimum 0.90 (lstm), above 1 in 1 of 2.

## Together

|  | ours | ours sequential | onnxruntime | ratio | ratio to best | p |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| unet+resnet18 | 30.0 ms | 36.0 ms | 45.0 ms (parallel, 1 thread each) | 1.50 | **1.50** | 0.001 |
| geometric mean |  |  |  | 1.50 | 1.50 |  |

Against the best peer of each entry: geometric mean 1.50, minimum 1.50 (unet+resnet18), above 1 in 1 of 1.

## Notes

- dlrm: no comparison: gacer-tune tune: error: out of luck
- lstm: results differ from ours: onnxruntime sequential: lstm/output
- lstm: openvino cannot run lstm: no such operator
- lstm: other processes or guests of the host used 1.2 cores meanwhile
"""

RECORDS = [
    record("alone", "resnet18", document(0.5, {"onnxruntime sequential": 9.0})),
    record("alone", "resnet18", document(0.01, {"onnxruntime sequential": 2.0, "openvino sequential": 1.6})),
    record("alone", "dlrm", None),
    record("alone", "lstm", document(
        0.001, {"onnxruntime sequential": 0.9}, wrong=["onnxruntime sequential: lstm/output"],
        skipped={"openvino": "lstm: no such operator"}, others=1.24,
    )),
    record("together", "unet+resnet18", document(
        0.03, {"onnxruntime sequential": 1.7, "onnxruntime parallel, 1 thread each": 1.5},
    )),
]  # fmt: skip


def test_the_page_of_recorded_lines() -> None:
    assert markdown(newest(RECORDS)) == HEAD + GOLDEN


def test_few_rounds_are_noted() -> None:
    bench = document(0.001, {"tvm sequential": 60.0})
    bench["systems"][-1]["rounds"] = 3
    page = markdown(newest([record("alone", "lstm", bench)]))
    assert page.endswith("## Notes\n\n- lstm: tvm sequential is so slow that it had 3 rounds only\n")


def test_an_empty_page_has_no_figures() -> None:
    assert markdown([]) == HEAD + "\n\nNothing was compared yet.\n"
    failed = newest([record("alone", "dlrm", None)])
    assert markdown(failed).endswith("yet.\n\n## Notes\n\n- dlrm: no comparison: gacer-tune tune: error: out of luck\n")


def test_other_machines_and_versions_are_another_page() -> None:
    ratios = {"onnxruntime sequential": 2.0}
    old = document(1.0, ratios, versions={"gacer-tune": "0.0.9"})
    there = document(1.0, ratios, machine={"cpu": "Other", "isa": "avx512", "lanes": 2, "cores": 4})
    more = document(1.0, ratios, versions={"gacer-tune": "0.1.0", "openvino": "1"})
    lines = [record("alone", "lstm", old), record("alone", "dlrm", there), record("alone", "ssd", more)]
    lines.append(record("alone", "unet", document(1.0, ratios)))
    assert [entry.name for entry in newest(lines)] == ["ssd", "unet"]


def test_peers_that_were_not_asked_are_told_from_those_that_cannot() -> None:
    both = {"onnxruntime sequential": 2.0, "openvino sequential": 2.0}
    lines = [
        record("alone", "lstm", document(1.0, both)),
        record("alone", "ssd", document(1.0, {"tvm sequential": 9.0})),
    ]
    page = markdown(newest(lines))
    assert (
        "| lstm | 1.00 s | 1.20 s | 2.00 s (sequential) | 2.00 | 2.00 s (sequential) | 2.00 | not compared |  |" in page
    )
    assert "cannot run it" not in page


def test_a_precision_is_asked_for_and_told(folders: list[str], tmp_path: Path) -> None:
    run = Runner(precision="bf16")
    assert main([*folders, "--names", "lstm", "--precision", "bf16"], run) == 0
    tune, compare = run.asked
    assert tune[tune.index("--precision") + 1] == "bf16" and "--precision" not in compare
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert "- precision: bf16, also of OpenVINO; ONNX Runtime knows float32 only\n" in page
    assert "--precision" not in [argument for asked in asked_plainly(folders) for argument in asked]


def asked_plainly(folders: list[str]) -> list[list[str]]:
    """What is run where no precision is given."""
    run = Runner()
    assert main([*folders, "--names", "lstm"], run) == 0
    return run.asked


def test_the_chart_has_a_bar_for_each_peer() -> None:
    root = ElementTree.fromstring(chart(newest(RECORDS)))
    space = "{http://www.w3.org/2000/svg}"
    bars = [rect for rect in root.iter(f"{space}rect") if rect.get("height") == "8.0"]
    scale = (WIDTH - LEFT - RIGHT) / MOST
    assert [float(bar.get("width", 0)) / scale for bar in bars] == pytest.approx([2.0, 1.6, 0.9, 1.5], abs=0.01)
    words = {text.text for text in root.iter(f"{space}text")}
    assert {"resnet18", "lstm", "unet+resnet18", "onnxruntime", "openvino", "1.60", "Together"} <= words
    assert "dlrm" not in words
    long = ElementTree.fromstring(chart(newest([record("alone", "lstm", document(1.0, {"tvm sequential": 60.0}))])))
    (bar,) = (rect for rect in long.iter(f"{space}rect") if rect.get("height") == "8.0")
    assert float(bar.get("width", 0)) / scale == pytest.approx(MOST)
    assert "60.00" in {text.text for text in long.iter(f"{space}text")}
    assert ElementTree.fromstring(chart([])).tag == f"{space}svg"


def test_the_geometric_mean() -> None:
    assert geomean([2.0, 0.5]) == pytest.approx(1.0)
    assert geomean([1.5]) == pytest.approx(1.5)


def test_the_sets_are_as_promised() -> None:
    assert len(set(ALONE)) == len(ALONE) >= 15
    assert len(set(TOGETHER)) == len(TOGETHER) == 10
    assert all(2 <= len(mix.split("+")) <= 4 for mix in TOGETHER)
    assert {model_of(name)[0] for row in SETS.values() for mix in row for name in mix.split("+")} <= set(MODELS)
    assert {model_of(name)[1] for name in (*ALONE, *"+".join(TOGETHER).split("+"))} == {1}
    ways = [model_of(one)[2] for name in QUANTIZED for one in name.split("+")]
    assert {*ways} == {*HOW} and {model_of(name)[2] for name in (*ALONE, *BATCHES)} == {""}
    assert {*TITLES} == {*SETS}
    assert len(BATCHES) == 10 and {model_of(name)[1] for name in BATCHES} == {4, 8}
    assert entries("batches", ["vit_tiny@8"]) == [("batches", "vit_tiny@8")]
    assert entries("alone", []) == [("alone", name) for name in ALONE]
    assert entries(None, ["unet+resnet18", "lstm"]) == [("alone", "lstm"), ("together", "unet+resnet18")]
    with pytest.raises(ValueError, match=r"^no entry lstm: there are resnet18"):
        entries("together", ["lstm"])


class Runner:
    """Stands for gacer-tune; `fails` names the command and the entry that fail, `stops` the entry interrupted."""

    def __init__(self, fails: tuple[str, str] = ("", ""), stops: str = "", precision: str = "fp32") -> None:
        self.fails, self.stops, self.precision = fails, stops, precision
        self.asked: list[list[str]] = []

    def __call__(self, arguments: Sequence[str]) -> Any:
        self.asked.append(list(arguments))
        out = arguments[arguments.index("--out") + 1] if "--out" in arguments else arguments[1]
        name = Path(out).name
        if (arguments[0], name) == self.fails:
            raise FailedError("gacer-tune tune: error: out of luck")
        if name == self.stops:
            raise KeyboardInterrupt
        if arguments[0] == "tune":
            return {"speedup": 1.1, "p_value": 0.01, "accepted": True, "baseline": "sequential", "trials": 9, "rows": 1}
        return document(0.01, {"onnxruntime sequential": 2.0}, precision=self.precision)


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    return ["--work", str(tmp_path / "work"), "--docs", str(tmp_path / "docs")]


def test_entries_are_tuned_compared_and_kept(folders: list[str], tmp_path: Path) -> None:
    run = Runner()
    names = ["lstm", "dlrm+lstm+bert_small"]
    written = tmp_path / "work" / "models"
    written.mkdir(parents=True)
    for name in ("dlrm", "lstm", "bert_small"):
        (written / f"{name}.onnx").write_bytes(b"made before")
    assert main([*folders, "--names", *names, "--budget", "3s", "--rounds", "4", "--against", "openvino"], run) == 0
    out = tmp_path / "work" / "bench" / "dlrm+lstm+bert_small"
    assert run.asked[2:] == [
        ["tune", *(str(written / f"{name}.onnx") for name in ("dlrm", "lstm", "bert_small")), "--out", str(out),
         "--budget", "3s", "--cache", str(tmp_path / "work" / "cache"), "--json"],
        ["bench", str(out), "--against", "openvino", "--rounds", "4", "--json"],
    ]  # fmt: skip
    lines, damaged = Journal(tmp_path / "work" / "bench.jsonl").read()
    assert not damaged
    assert [(line["set"], line["name"]) for line in lines] == [("alone", names[0]), ("together", names[1])]
    assert lines[0]["tuned"] == {
        "speedup": 1.1,
        "p_value": 0.01,
        "accepted": True,
        "baseline": "sequential",
        "trials": 9,
    }
    assert lines[0]["command"] == (
        "python -m tests.bench --names lstm dlrm+lstm+bert_small --budget 3s --rounds 4 --against openvino"
    )
    assert "| lstm | 10.0 ms |" in (tmp_path / "docs" / "benchmarks.md").read_text()
    assert (tmp_path / "docs" / "benchmarks.svg").read_text().startswith("<svg ")


def test_models_are_written_once(folders: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        assert main([*folders, "--names", "shufflenet"], Runner()) == 0
    path = tmp_path / "work" / "models" / "shufflenet.onnx"
    assert path.read_bytes() == MODELS["shufflenet"]().SerializeToString()
    assert [file.name for file in path.parent.iterdir()] == ["shufflenet.onnx"]


@pytest.mark.parametrize("command", ["tune", "bench"])
def test_an_entry_that_fails_does_not_end_the_run(folders: list[str], tmp_path: Path, command: str) -> None:
    assert main([*folders, "--names", "lstm", "shufflenet"], Runner(fails=(command, "shufflenet"))) == 0
    lines, _ = Journal(tmp_path / "work" / "bench.jsonl").read()
    failed = {line["name"]: line.get("failed", "") for line in lines}
    assert failed == {"shufflenet": "gacer-tune tune: error: out of luck", "lstm": ""}
    assert "- shufflenet: no comparison: gacer-tune tune" in (tmp_path / "docs" / "benchmarks.md").read_text()


def test_a_larger_batch_is_another_model(folders: list[str], tmp_path: Path) -> None:
    assert main([*folders, "--names", "squeezenet@4"], Runner()) == 0
    path = tmp_path / "work" / "models" / "squeezenet@4.onnx"
    assert path.read_bytes() == MODELS["squeezenet"](batch=4).SerializeToString()
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert "## Alone, batch 4 and 8\n\n|  | ours |" in page
    assert "| squeezenet@4 | 10.0 ms |" in page


def test_parts_of_a_run_make_one_page(folders: list[str], tmp_path: Path) -> None:
    (tmp_path / "work" / "models").mkdir(parents=True)
    for name in ("lstm", "dlrm"):
        (tmp_path / "work" / "models" / f"{name}.onnx").write_bytes(b"made before")
    for names in (["--names", "lstm"], ["--names=dlrm", "--names", "lstm"]):
        assert main([*folders, *names], Runner()) == 0
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert page.count("| lstm | 10.0 ms |") == page.count("| dlrm | 10.0 ms |") == 1
    assert "- command: `python -m tests.bench --names=dlrm --names lstm`\n\n" in page
    assert str(tmp_path) not in page


def test_an_interrupted_run_keeps_what_it_has(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*folders, "--names", "shufflenet", "lstm"], Runner(stops="lstm")) == 130
    assert not (tmp_path / "docs").exists()
    assert main([*folders, "--render"], Runner(stops="lstm")) == 0
    assert "| shufflenet | 10.0 ms |" in (tmp_path / "docs" / "benchmarks.md").read_text()
    captured = capsys.readouterr()
    assert "1 of 2: shufflenet: 2.00 times as fast as the best peer\n" in captured.out
    assert "--render writes the page from it" in captured.err


def test_unknown_entries_are_refused(folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*folders, "--names", "nonet"], Runner()) == 2
    assert capsys.readouterr().err.startswith("error: --names: no entry nonet: there are resnet18, ")


def test_commands_are_those_of_gacer_tune(tmp_path: Path) -> None:
    assert isinstance(gacer_tune(["cache", "ls", "--cache", str(tmp_path), "--json"]), dict)
    with pytest.raises(FailedError, match=r"^gacer-tune verify: error: .*none: no such folder$"):
        gacer_tune(["verify", str(tmp_path / "none")])


def test_lines_survive_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "bench.jsonl")
    for line in RECORDS:
        journal.append(line)
    assert [Entry.of(line) for line in journal.read()[0]] == [Entry.of(line) for line in RECORDS]
    assert json.loads(json.dumps(RECORDS)) == RECORDS
