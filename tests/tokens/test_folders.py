"""Folders and files for their owner alone: made by real processes, under umasks that take too little and too much."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from telnyx_oauth.tokens.folders import create_private, make_private

pytestmark = pytest.mark.skipif(os.name != "posix", reason="there are no such modes")

CODE = """
import os, sys
from pathlib import Path
from telnyx_oauth.tokens.folders import create_private, make_private

folder = Path(sys.argv[1])
make_private(folder)
os.close(create_private(folder / "file"))
"""
UMASKS = (0o000, 0o002, 0o022, 0o077, 0o177, 0o277, 0o477, 0o777, 0o707)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def make(folder: Path, umask: int) -> None:
    subprocess.run([sys.executable, "-c", CODE, str(folder)], umask=umask, check=True, timeout=30)


@pytest.mark.parametrize("umask", UMASKS, ids=oct)
def test_what_is_made_is_its_owners_alone_whatever_the_umask(tmp_path, umask):
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o755)
    make(there / "a" / "b" / "c", umask)
    assert [mode(there / each) for each in ("a", "a/b", "a/b/c", "a/b/c/file")] == [0o700, 0o700, 0o700, 0o600]
    assert mode(there) == 0o755


@pytest.mark.parametrize("umask", UMASKS, ids=oct)
def test_a_folder_that_is_there_keeps_its_mode(tmp_path, umask):
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o750)
    make(there, umask)
    assert mode(there) == 0o750


def test_a_folder_may_be_reached_by_a_link_and_has_what_its_own_folder_gives_on(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real").chmod(0o2755)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    make_private(tmp_path / "link" / "a")
    assert mode(tmp_path / "real" / "a") & 0o777 == 0o700
    assert mode(tmp_path / "real") == 0o2755


def test_processes_that_make_one_folder_at_once_all_have_it(tmp_path):
    folder = tmp_path / "a" / "b" / "c"
    code = CODE.replace('folder / "file"', "folder / str(os.getpid())")
    many = [subprocess.Popen([sys.executable, "-c", code, str(folder)], umask=0) for _ in range(6)]
    assert [each.wait(30) for each in many] == [0] * 6
    assert {mode(each) for each in (folder, folder.parent, folder.parent.parent)} == {0o700}
    assert len(list(folder.iterdir())) == 6


def test_what_is_no_folder_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for path in (tmp_path / "file", tmp_path / "file" / "a", tmp_path / "nowhere"):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            make_private(path)
    for name in ("file", "nowhere"):
        with pytest.raises(FileExistsError):
            create_private(tmp_path / name)
    assert not (tmp_path / "gone").exists()
