"""A report's folder belongs to one run at a time, and to none that is dead."""

import os
import signal
import subprocess
import sys

import pytest

from sise_rt.bulk.claim import LOCK, claimed
from sise_rt.errors import OutputError

HOLDER = """
import sys
from pathlib import Path
from sise_rt.bulk.claim import claimed
with claimed(Path(sys.argv[1])):
    print("claimed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has the folder `report` until its input ends."""
    command = [sys.executable, "-P", "-c", HOLDER, str(tmp_path / "report")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "claimed\n"
        yield process
        process.kill()


def refused(folder):
    with pytest.raises(OutputError) as caught, claimed(folder):
        pass
    return caught.value


def test_a_second_process_is_told_of_the_first(holder, tmp_path):
    report = tmp_path / "report"
    error = refused(report)
    assert error.message.startswith(f"{report} is in use: process {holder.pid} evaluates into it")
    assert "\n" not in error.message
    assert error.settings == ("report",)
    holder.communicate()
    with claimed(report):
        assert refused(report).message.startswith(f"{report} is in use: process {os.getpid()} ")
    assert list(report.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_process_holds_nothing(holder, tmp_path):
    report = tmp_path / "report"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (report / LOCK).exists()
    with claimed(report):
        assert (report / LOCK).read_text() == f"{os.getpid()}\n"
    assert list(report.iterdir()) == []


def test_what_fails_gives_the_folder_back(tmp_path):
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path):
        raise KeyboardInterrupt
    with claimed(tmp_path):
        pass


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "labels.txt").write_text("mine")
    assert refused(tmp_path / "labels.txt").message == f"{tmp_path / 'labels.txt'} is a file: name a folder"
    below = tmp_path / "labels.txt" / "report"
    assert refused(below).message == f"{below} lies below a file: name a folder"
    assert (tmp_path / "labels.txt").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="needs O_NOFOLLOW")
def test_a_link_in_the_locks_place_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / LOCK).symlink_to(tmp_path / "mine")
    assert "cannot be written" in refused(tmp_path).message
    assert (tmp_path / "mine").read_text() == "mine"
