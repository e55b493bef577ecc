"""What Tab offers, by the protocol that the shells' scripts speak."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robreport import completion
from robreport.caveats import CAVEATS
from robreport.plugins import Registry
from tests.running import command

pytestmark = pytest.mark.slow

AUDIT = """
[audit]
title = "t"
[[metrics]]
id = "a.first"
[[metrics]]
name = "second"
id = "a.first"
[[metrics]]
name = "third one"
[[metrics]]
name = 3
"""


def _offered(line: str, folder: Path, **more: str) -> list[str]:
    """What bash would offer for the last word of the line."""
    words = line.split(" ")
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    run = _asked("complete_bash", folder, **variables, **more)
    assert run.returncode == 0
    assert run.stderr == ""
    return run.stdout.split("\n")[:-1] if run.stdout.strip() else []


def _asked(instruction: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "robreport"],
        env={**os.environ, "_ROBREPORT_COMPLETE": instruction, **more},
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_commands_and_options(tmp_path: Path) -> None:
    assert {"run", "check", "render", "schema", "cache"} <= {*_offered("robreport ", tmp_path)}
    assert _offered("robreport re", tmp_path) == ["render"]
    assert "--only" in _offered("robreport run --o", tmp_path)
    assert _offered("robreport cache ", tmp_path) == ["info", "clear"]
    # a path is the shell's own affair, for which nothing may be offered here
    assert _offered("robreport run ", tmp_path) == []


def test_metric_ids(tmp_path: Path) -> None:
    assert _offered("robreport metrics ", tmp_path) == sorted(Registry().metrics)
    assert _offered("robreport metrics attacks.s", tmp_path) == ["attacks.suite"]


def test_caveat_codes(tmp_path: Path) -> None:
    assert _offered("robreport explain ", tmp_path) == list(CAVEATS)
    assert _offered("robreport explain small-", tmp_path) == ["small-sample"]


def test_examples(tmp_path: Path) -> None:
    assert _offered("robreport init demo --example ", tmp_path) == ["digits"]


def test_entries_of_the_audit_file_on_the_line(tmp_path: Path) -> None:
    (tmp_path / "audit.toml").write_text(AUDIT, encoding="utf-8")
    assert _offered("robreport run audit.toml --only ", tmp_path) == [
        "a.first", "second", "third one",
    ]  # fmt: skip
    # what was chosen is not offered again, wherever the option stands
    assert _offered("robreport run audit.toml --only second --only ", tmp_path) == [
        "a.first", "third one",
    ]  # fmt: skip
    assert _offered("robreport run -q audit.toml --only s", tmp_path) == ["second"]


@pytest.mark.parametrize(
    "content",
    [b"[audit", b"\xff\xfe", b"metrics = 3", b"metrics = [[1]]", b"x = " + b"[" * 50_000, b""],
    ids=["syntax", "encoding", "number", "nested", "deep", "empty"],
)
def test_an_audit_file_that_cannot_be_read_offers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "audit.toml").write_bytes(content)
    for name in ("audit.toml", "none.toml", "", "a\0b"):
        line = f"robreport run {tmp_path}/{name} --only "
        monkeypatch.setattr(os, "environ", {"COMP_WORDS": line})
        assert completion.entry_names("") == []


def test_run_folders(tmp_path: Path) -> None:
    for name in ("out", "sub/deep", "sub/a/b/too-deep", ".hidden", "half"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "audit.json").touch()
        if name != "half":
            (tmp_path / name / "manifest.json").touch()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert _offered("robreport render ", tmp_path) == ["out", "sub/deep"]
    assert _offered("robreport render s", tmp_path) == ["sub/deep"]
    assert _offered("robreport render sub/", tmp_path) == ["sub/deep"]
    assert _offered("robreport render sub/a/", tmp_path) == ["sub/a/b/too-deep"]
    assert _offered("robreport render .h", tmp_path) == [".hidden"]
    assert _offered(f"robreport render {tmp_path}/o", tmp_path) == [f"{tmp_path}/out"]
    assert _offered("robreport render none/", tmp_path) == []


def test_zsh_and_fish_get_the_explanations_too(tmp_path: Path) -> None:
    zsh = _asked("complete_zsh", tmp_path, _TYPER_COMPLETE_ARGS="robreport explain small-")
    assert zsh.stdout.startswith("""_arguments '*: :(("small-sample":""")
    fish = _asked("complete_fish", tmp_path, _TYPER_COMPLETE_ARGS="robreport explain small-",
                  _TYPER_COMPLETE_FISH_ACTION="get-args")  # fmt: skip
    assert fish.stdout.startswith("small-sample\t")
    # fish asks by the exit code whether there is anything of ours, or files are meant
    for line, code in (("robreport explain ", 0), ("robreport run ", 1)):
        asked = _asked("complete_fish", tmp_path, _TYPER_COMPLETE_ARGS=line,
                       _TYPER_COMPLETE_FISH_ACTION="is-args")  # fmt: skip
        assert asked.returncode == code


def test_an_unfinished_quotation_breaks_nothing(tmp_path: Path) -> None:
    assert _offered('robreport run "audit.toml --only ', tmp_path) == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself_completes(tmp_path: Path) -> None:
    """The script that bash is given, run by bash on a line being typed."""
    script = _asked("source_bash", tmp_path).stdout
    shim = tmp_path / "robreport"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m robreport "$@"\n', encoding="utf-8")
    shim.chmod(0o755)
    asks = (
        f"{script}\nCOMP_WORDS=(robreport explain small-s); COMP_CWORD=2\n"
        '_robreport_completion robreport; printf "%s\\n" "${COMPREPLY[@]}"; complete -p robreport'
    )
    run = subprocess.run(
        ["bash", "--norc", "-c", asks],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.stdout.splitlines() == [
        "small-sample", "complete -o default -F _robreport_completion robreport",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shell", "written"),
    [("bash", ".bash_completions/robreport.sh"), ("zsh", ".zfunc/_robreport"),
     ("fish", ".config/fish/completions/robreport.fish")],
)  # fmt: skip
def test_it_is_installed_for_each_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, written: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    # the framework's own switch, with which a test names the shell that it would look for
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    run = command("--install-completion", shell, cache=tmp_path / "cache", plugins=())
    assert (run.returncode, run.stderr) == (0, "")
    assert "_ROBREPORT_COMPLETE" in (tmp_path / written).read_text(encoding="utf-8")
    shown = command("--show-completion", shell, cache=tmp_path / "cache", plugins=())
    assert shown.returncode == 0
    assert "_ROBREPORT_COMPLETE" in shown.stdout


def test_what_cannot_be_installed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    run = command("--install-completion", "fish", cache=tmp_path / "cache", plugins=())
    assert run.returncode == 3
    assert run.stderr.count("\n") == 1
    assert "completion was not installed" in run.stderr
    monkeypatch.delenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION")


def test_a_shell_that_is_not_recognised_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "")
    # whatever runs the tests may be a shell's child: a session without one, and no shell above it
    code = (
        "import sys, shellingham\n"
        "def none(*a, **k): raise shellingham.ShellDetectionFailure\n"
        "shellingham.detect_shell = none\n"
        "from robreport.cli import main\n"
        "sys.argv = ['robreport', '--install-completion']\n"
        "main()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 3
    assert "this shell was not recognised; _ROBREPORT_COMPLETE=source_bash robreport" in run.stderr
