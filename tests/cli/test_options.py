"""Dataclasses as options of a command."""

from dataclasses import MISSING, dataclass
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from tmaseg.cli import app
from tmaseg.cli.command import ConsoleOptions, Omit, Only, PanelCommand, with_options
from tmaseg.errors import ConfigError, TmasegError
from tmaseg.options.option import option


@dataclass(frozen=True, kw_only=True)
class Some:
    number: int = option("Numbers", "A number.", default=3)
    names: tuple[str, ...] | None = option("Names", "Names.", None, "--name")
    kinds: tuple[Literal["a", "b"], ...] = option("Names", "Kinds.", None, "--kind", default=("a",))
    factors: tuple[float, ...] = option("Numbers", "Factors.", None, "--factor", default=(1.0,))
    needed: str = option("Names", "No default.", default=MISSING)
    other: int = 1  # no option


@pytest.fixture
def call():
    """Runs a command of one group; (exit code, standard error, what it got)."""

    def run(command, *words):
        got = []
        small = typer.Typer(rich_markup_mode=None, add_completion=False)
        small.command(cls=PanelCommand)(with_options(command(got.append)))
        result = CliRunner().invoke(small, list(words))
        if isinstance(result.exception, TmasegError):
            raise result.exception
        return result.exit_code, result.output, got

    return run


def plain(keep):
    def command(some: Some, rest: Annotated[str, typer.Argument()] = "r"):
        """Help in
        two lines."""
        keep((some, rest))

    return command


def test_fields_become_options_and_the_command_gets_the_object(call):
    assert call(plain, "--needed", "x")[2] == [(Some(needed="x"), "r")]
    words = (
        *["--needed", "x", "--number", "5", "--name", "u,v", "--name"],
        "v, w",
        *["--kind", "b,a", "--factor", "2,0.5", "q"],
    )
    assert call(plain, *words)[2] == [
        (Some(needed="x", number=5, names=("u", "v", "w"), kinds=("b", "a"), factors=(2.0, 0.5)), "q"),
    ]


def test_wrong_values_and_missing_ones_are_wrong_usage(call):
    code, said, got = call(plain, "--needed", "x", "--kind", "a,c")
    assert (code, got) == (2, [])
    assert "--kind" in said
    assert "'c' is not one of a, b" in said
    assert call(plain)[0] == 2
    with pytest.raises(ConfigError, match="--factor is '1,big'; write numbers"):
        call(plain, "--needed", "x", "--factor", "1,big")


def test_help_has_panels_and_flowing_text(call):
    code, said, _ = call(plain, "--help")
    assert code == 0
    assert "Help in two lines." in said
    for words in ("─ Numbers ─", "[default: a]", "[required]", "─ Console ─"):
        assert words in said


def test_fields_can_be_left_out(call):
    def command(keep):
        def inner(
            some: Annotated[Some, Only("needed", "number")], console: Annotated[ConsoleOptions, Omit("strict", "json")]
        ):
            keep((some, console))

        return inner

    words = ("--needed", "x", "--quiet")
    assert call(command, *words)[2] == [(Some(needed="x"), ConsoleOptions(quiet=True))]
    assert call(command, *words, "--strict")[0] == 2
    assert call(command, *words, "--kind", "b")[0] == 2


@pytest.mark.parametrize("command", ["run", "frames", "eval", "bench", "train", "convert", "info", "data check"])
def test_every_option_has_a_sentence(command):
    group = typer.main.get_command(app)
    for word in command.split():
        group = group.commands[word]
    for parameter in group.params:
        assert parameter.help, parameter.name
        assert parameter.help[0].isupper() or parameter.help.startswith("FFmpeg"), parameter.help
        assert parameter.help.endswith("."), parameter.help
