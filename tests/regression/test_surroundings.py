"""Models, device and toolchain: what is told, and what stands in the way of comparing times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gacer_tune.ir.workload import Port, Workload
from gacer_tune.regression.surroundings import obstacles, surroundings
from tests.regression.support import HERE, MIX, artifact
from tests.support.workloads import chain


def changed_tenant(**fields: Any) -> Workload:
    return Workload((replace(MIX.tenants[0], **fields), MIX.tenants[1]))


def told(after: Any) -> list[str]:
    return [f"{change.area}: {change.text}" for change in surroundings(artifact(), after)]


def test_equal_artifacts_differ_in_nothing_and_can_be_compared() -> None:
    assert surroundings(artifact(), artifact()) == ()
    assert obstacles(artifact(), artifact(), HERE) == ()


@pytest.mark.parametrize(
    ("fields", "text", "obstacle"),
    [
        ({"model": "another one"}, "det: model another one (was digest-det)", "det: another model: another one"),
        ({"batch": 4}, "det: batch 4 (was 1)", "det: other inputs: "),
        (
            {"inputs": (Port("x", 0, (2, 8), "float32"),)},
            "det: inputs x float32 2x8 (was x float32 16)",
            "det: other inputs: x float32 2x8 (was x float32 16)",
        ),
        (
            {"outputs": (Port("z", 3, (16,), "float32"),)},
            "det: outputs z float32 16 (was y float32 16)",
            "det: another model: ",
        ),
        ({"weight": 2.0}, "det: weight 2.0 (was 1.0)", ""),
        ({"slo_s": 0.02}, "det: slo 20 ms (was none)", ""),
    ],
)
def test_what_is_run(fields: dict[str, Any], text: str, obstacle: str) -> None:
    after = artifact(workload=changed_tenant(**fields))
    assert told(after) == [f"workload: {text}"]
    found = obstacles(artifact(), after, HERE)
    assert [reason.startswith(obstacle) for reason in found] == [True] * bool(obstacle)


def test_other_tenants() -> None:
    after = artifact(workload=Workload((MIX.tenants[0], chain("ocr", (6, 8)))))
    assert told(after) == ["workload: tenants det, ocr (was det, seg)"]
    assert obstacles(artifact(), after, HERE) == ("other models: det, ocr (was det, seg)",)


def test_tenants_in_another_order_can_be_compared() -> None:
    after = artifact(workload=Workload(MIX.tenants[::-1]))
    assert told(after) == ["workload: tenants seg, det (was det, seg)"]
    assert obstacles(artifact(), after, HERE) == ()


def test_the_fourth_input_counts_too() -> None:
    ports = [tuple(Port(name, 0, (size,), "float32") for name in "abcd") for size in (16,)]
    before = changed_tenant(inputs=ports[0])
    after = changed_tenant(inputs=(*ports[0][:3], Port("d", 0, (8,), "float32")))
    found = surroundings(artifact(workload=before), artifact(workload=after))
    assert [change.what for change in found] == ["inputs"]


def test_other_ops_of_the_same_model() -> None:
    shorter = replace(chain("det", (4, 6), variants=2), outputs=MIX.tenants[0].outputs)
    assert told(artifact(workload=Workload((shorter, MIX.tenants[1])))) == [
        "workload: det: ops 2 ops: decisions about them are not compared (was 3 ops)"
    ]


def test_device_and_toolchain() -> None:
    there = {
        **HERE,
        "cores": 8,
        "cpu_id": "x",
        "python": "3.9",
        "memory_nbytes": 1,
        "packages": [["apache-tvm", "0.26"]],
    }
    after = artifact(isa="avx512", fingerprint=there, functions=("g",))
    assert told(after) == [
        f"device: cpu id x (was {HERE['cpu_id']})",
        "device: cores 8 (was 2)",
        "toolchain: instruction set avx512 (was avx2)",
        "toolchain: apache-tvm 0.26 (was 0.27.0)",
        "toolchain: code of the kernels compiled anew, variants compared by work items (was other)",
    ]
    assert obstacles(artifact(), after, HERE) == (
        f"the new artifact was tuned for another machine: cpu id x, here {HERE['cpu_id']}; cores 8, here 2",
    )


def test_a_new_toolchain_on_the_same_machine_can_be_compared() -> None:
    after = artifact(fingerprint={**HERE, "packages": [], "python": "3.9"}, functions=("g",))
    assert obstacles(artifact(), after, HERE) == ()


def test_two_artifacts_of_another_machine_say_nothing_about_this_one() -> None:
    there = {**HERE, "cores": 64}
    found = obstacles(artifact(fingerprint=there), artifact(fingerprint=there), HERE)
    assert [reason.partition(" was tuned")[0] for reason in found] == ["the baseline", "the new artifact"]


def test_another_gpu_is_another_device_and_a_simulated_one_is_none() -> None:
    gpu = {"name": "NVIDIA H100", "sms": 132}
    with_gpu = artifact(fingerprint={**HERE, "gpu": gpu})
    assert obstacles(with_gpu, with_gpu, {**HERE, "gpu": gpu}) == ()
    assert obstacles(with_gpu, with_gpu, HERE)[1] == (
        "the new artifact was tuned for another machine: gpu name NVIDIA H100, sms 132, here none"
    )
    simulated = artifact(fingerprint={**HERE, "gpu": "simulated h100"}, simulated="h100")
    assert obstacles(with_gpu, simulated, {**HERE, "gpu": gpu}) == (
        "the new artifact was found on a simulated h100: there is nothing in it to run",
    )
    assert [change.text for change in surroundings(with_gpu, simulated)] == [
        "gpu simulated h100 (was name NVIDIA H100, sms 132)"
    ]


def test_an_artifact_without_fingerprint_is_of_another_machine() -> None:
    found = obstacles(artifact(fingerprint=None), artifact(), HERE)
    assert len(found) == 1 and "the baseline was tuned for another machine: machine none, here" in found[0]


def test_another_objective_is_told() -> None:
    assert told(artifact(figures={"objective": "slo"})) == ["workload: objective slo (was makespan)"]
