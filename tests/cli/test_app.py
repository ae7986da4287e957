"""Exit codes, the first word of errors, and how little is imported for help."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import pytest

from gacer_tune.cli import main
from tests.cli.support import Cli, Fake

_HEAVY = ("tvm", "tvm_ffi", "onnx", "onnxslim", "onnxruntime", "xgboost", "scipy", "numpy", "yaml", "safetensors")


@pytest.mark.parametrize("arguments", [["--help"], ["tune", "--help"], ["cache", "gc", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom gacer_tune.cli import main\n"
        f"assert main({arguments!r}) == 0\n"
        f"print([name for name in {_HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "[]\n"
    assert len(done.stdout) > 10


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "gacer_tune", "nope"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no such command 'nope'; see gacer-tune --help\n"


def test_help_names_every_command_and_code(cli: Cli) -> None:
    said = cli("--help")
    assert said.code == 0
    for command in ("tune", "inspect", "run", "verify", "report", "trace", "cache"):
        assert f"\n  {command} " in said.out
    assert "130 interrupted" in said.out
    assert "..." not in said.out.replace("[ARGS]...", "")  # no help text is cut off
    assert cli().out == said.out


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"gacer-tune {metadata.version('gacer-tune')}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "missing argument 'OUT'; see gacer-tune --help"),
        (["cache"], "missing command; see gacer-tune --help"),
        (["tune"], "no models: name at least one ONNX file, or list them under `tenants` in the file of -c"),
        (["tune", "none.onnx"], "none.onnx: no such file"),
        (["tune", "."], ".: a folder, an ONNX file is needed"),
        (["tune", "-c", "none.yaml"], "none.yaml: cannot be read: no such file or folder"),
        (["tune", "det.onnx", "--trials", "0"], "--trials: 0 was given, allowed: at least 1"),
        (["tune", "det.onnx", "--budget", "-3s"], "--budget: '-3s' was given, allowed: "
         "a number above 0 of seconds, or with a unit as in 90s, 2m, 1.5h"),
        (["tune", "det.onnx", "--budget", "0"], "--budget: 0.0 was given, allowed: above 0"),
        (["tune", "det.onnx", "--target", "gpu"], "--target: 'gpu' was given, allowed: 'cpu' or 'cuda'"),
        (["tune", "det.onnx", "--batch", "0"], "--batch: 0 was given, allowed: an integer, at least 1"),
        (["tune", "det.onnx", "--shape", "det:x"], "--shape det:x: allowed: TENANT:INPUT=DIMS, as in "
         "det:images=1x3x640x640"),
        (["tune", "det.onnx", "seg.onnx", "--shape", "dat:x=1x3"],
         "--shape dat:x=1x3: no tenant 'dat', the tenants are: det, seg"),
        (["tune", "a=det.onnx", "a=seg.onnx"],
         "name 'a' was given to 2 tenants, names must differ; choose them, NAME=PATH"),
        (["inspect", "det.onnx", "--overhead"],
         "--overhead: det.onnx was given, allowed: one folder that tune has written"),
        (["inspect", "none.onnx"], "none.onnx: no such file"),
        (["run", "none", "--compare", "tvm"], "--compare: 'tvm' was given, allowed: onnxruntime"),
        (["run", "none", "--models", "a=b"], "--models: only of use with --compare onnxruntime"),
        (["verify", "none"], "none: no such folder"),
        (["report", "none"], "none: no such folder"),
        (["cache", "gc"], "cache gc: nothing to do, give --max-size, as in 2GB, or --max-age, as in 30d"),
        (["cache", "gc", "--max-size", "big"], "--max-size: 'big' was given, allowed: a size as in 500MB, 2GB"),
        (["cache", "gc", "--max-age", "old"], "--max-age: 'old' was given, allowed: an age as in 30d, 12h, 90m"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_message(cli: Cli, models: Path, arguments: list[str], message: str) -> None:
    said = cli(*arguments)
    assert (said.code, said.out, said.err) == (2, "", f"error: {message}\n")
    assert models.exists()


def test_bad_usage_names_the_option(cli: Cli) -> None:
    said = cli("tune", "--lanes", "x")
    assert said.code == 2
    assert said.err.startswith("error: invalid value for '--lanes': ")
    assert "no such option: --bogus" in cli("tune", "--bogus").err


def test_more_lanes_than_cores_are_refused_before_any_model_is_read(cli: Cli, models: Path) -> None:
    said = cli("tune", models / "det.onnx", "--lanes", "4096")
    assert said.code == 2
    assert said.err.startswith("error: lanes: 4096, this process may use ")


def test_names_cannot_command_the_terminal(cli: Cli, models: Path) -> None:
    assert models.exists()
    assert cli("tune", "a\x1b[2Jb.onnx").err == "error: a?[2Jb.onnx: no such file\n"


def test_our_own_bugs_keep_their_traceback(models: Path, fake: Fake) -> None:
    def tune(*_: object) -> NoReturn:
        raise ZeroDivisionError("ours")

    fake("gacer_tune.tuning", tune=tune)
    with pytest.raises(ZeroDivisionError, match="ours"):
        main(["tune", str(models / "det.onnx")])


def test_an_interruption_is_130(cli: Cli, models: Path, fake: Fake) -> None:
    def tune(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    fake("gacer_tune.tuning", tune=tune)
    said = cli("tune", models / "det.onnx", "-o", "there")
    assert (said.code, said.out) == (130, "")
    assert said.err == "interrupted: no artifact was written; --resume goes on with the trials in there\n"
