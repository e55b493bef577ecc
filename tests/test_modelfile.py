"""Digests of files that a spec names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from robreport.errors import ModelError
from robreport.modelfile import code_digest, file_digest


def test_a_file_s_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(b"weights")
    assert file_digest(str(tmp_path / "net.bin")) == hashlib.sha256(b"weights").hexdigest()
    assert file_digest("") == ""


def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(ModelError, match="is no plain file"):
            file_digest(str(path))
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        file_digest(str(tmp_path / "absent"))


def test_code_beside_the_spec_counts_where_an_option_names_it(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text("a = 1")
    assert code_digest({"shape": "x"}, tmp_path) == ""
    first = code_digest({"architecture": "nets:make"}, tmp_path)
    (tmp_path / "nets.py").write_text("a = 2")
    assert code_digest({"architecture": "nets:make"}, tmp_path) != first
