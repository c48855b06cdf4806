"""The first signal asks, the second one ends at once; real signals, to this process or to one of its own."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tmaseg.files import PartFile
from tmaseg.signals import Interrupted, StopRequest

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks_and_the_handlers_of_before_come_back(number):
    before, told = signal.getsignal(number), []
    with StopRequest(lambda: told.append(1)) as stop:
        assert not stop()
        assert stop.exit_code == 0
        os.kill(os.getpid(), number)
        assert stop()
    assert (stop.exit_code, told) == (128 + number, [1])
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_ends_at_once_and_no_part_file_is_left(tmp_path):
    part = PartFile(tmp_path / "a.txt")
    part.path.write_text("half")
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert list(tmp_path.iterdir()) == [part.path]
        with pytest.raises(Interrupted) as raised:
            os.kill(os.getpid(), signal.SIGINT)
    assert (raised.value.exit_code, stop.exit_code) == (130, 130)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_comes_twice_at_once_is_one():
    with StopRequest() as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
    assert stop.exit_code == 143
    with StopRequest(repeat_seconds=10) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert stop.exit_code == 143


def test_at_once_the_first_one_raises_and_an_inner_request_counts_before_an_outer_one():
    with StopRequest(at_once=True):
        with StopRequest() as inner:
            os.kill(os.getpid(), signal.SIGHUP)
        assert inner()
        with pytest.raises(Interrupted) as raised:
            os.kill(os.getpid(), signal.SIGTERM)
    assert raised.value.exit_code == 143


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest(at_once=True) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_that_does_not_unwind_after_the_second_signal_exits():
    code = """
import signal, sys, time
from tmaseg import signals
signals._UNWIND_SECONDS = 0.2
with signals.StopRequest():
    print("ready", flush=True)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            print("deaf", flush=True)
"""
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < deadline:
        running.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert running.returncode == 130
    assert "deaf" in running.communicate()[0]
