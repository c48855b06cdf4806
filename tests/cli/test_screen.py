"""Screen: file names as they are, and no bar where there is no terminal."""

import os
import pty
import sys

import pytest

from tmaseg.cli.screen import Screen, duration


@pytest.mark.parametrize("name", [":dog:.mp4", "[bold]x[/bold].mp4", "[link=x]a.mp4", ":warning:.mp4", "x" * 300])
def test_names_are_printed_as_they_are(capsys, name):
    screen = Screen()
    screen.say(f"{name}: 3 frames")
    screen.warn([name])
    assert capsys.readouterr().err == f"{name}: 3 frames\nwarning: {name}\n"


def test_a_log_gets_occasional_lines_whatever_force_color_says(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("tmaseg.cli.screen._EVERY_SECONDS", 0)
    with Screen().progress(":dog:.mp4") as update:
        update(10, 40)
        update(40, None)
    said = capsys.readouterr().err
    first, second = said.splitlines()
    assert first.startswith(":dog:.mp4: 10 of 40 frames, ")
    assert first.endswith(" left")
    assert second.startswith(":dog:.mp4: 40 frames, ")
    assert "\x1b" not in said


def test_quiet_prints_nothing(capsys):
    screen = Screen(quiet=True)
    screen.say("a line")
    with screen.progress("name") as update:
        update(1, 2)
    assert not capsys.readouterr().err


def test_a_terminal_gets_a_bar_with_the_name_as_it_is(monkeypatch):
    master, slave = pty.openpty()
    shown = ""
    with os.fdopen(slave, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        patch.setenv("TERM", "xterm")
        with Screen().progress("[b]:dog:.mp4") as update:
            update(3, 4)
        terminal.write("END")
        terminal.flush()
        while "END" not in shown:  # a terminal hands on what is written in parts
            shown += os.read(master, 100_000).decode()
    os.close(master)
    assert "[b]:dog:.mp4: 3 of 4 frames" in shown
    assert "\x1b[" in shown


def test_durations():
    assert [duration(each) for each in (4.21, 42, 200, 7500)] == ["4.2 s", "42 s", "3 min 20 s", "2 h 5 min"]
