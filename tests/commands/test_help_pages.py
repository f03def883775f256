"""The help: what every page of it keeps."""

import re
from pathlib import Path

import click
import pytest

from sise_rt.commands.group import MODULES, cli, run
from sise_rt.commands.help_pages import HOW, WHAT, Helpful, Option, option

CONTEXT = click.Context(cli, info_name="sise-rt")


@pytest.fixture
def page(capsys, monkeypatch):
    """The help of a command on a terminal of some columns."""

    def invoke(*command, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert run([*command, "--help"]) == 0
        return capsys.readouterr().out

    return invoke


@pytest.mark.parametrize("command", [(), *((name,) for name in MODULES)])
def test_a_page_fits_into_80_columns(page, command):
    lines = page(*command).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line.endswith("...") for line in lines if "Usage" not in line)
    assert not any(re.search(r"\w-$", line) for line in lines), "names stay in one piece"


def test_the_list_of_commands_has_a_whole_sentence_for_each(page):
    listed = " ".join(page().split("Commands:\n")[1].split())
    sentences = [sentence.split(maxsplit=1)[1] for sentence in re.split(r"(?<=\.) (?=[a-z])", listed)]
    assert len(sentences) == len(MODULES)
    for name, sentence in zip(MODULES, sentences, strict=True):
        summary = " ".join(cli.get_command(CONTEXT, name).help.split("\n\n")[0].split())
        assert summary.startswith(sentence)
        assert sentence.endswith(".")


def test_the_page_of_the_command_line_lists_every_command():
    page = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
    assert re.findall(r"^\| `sise-rt ([a-z-]+)` \|", page.read_text("utf-8"), re.MULTILINE) == list(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_every_option_has_a_heading_and_whole_sentences(name):
    for parameter in cli.get_command(CONTEXT, name).params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert isinstance(parameter, Option), f"{parameter.opts}: no heading"
            assert parameter.help, parameter.opts
            assert parameter.help.endswith("."), parameter.opts


def test_options_stand_below_their_headings_in_one_column():
    @click.command(cls=Helpful)
    @option("--small", heading=WHAT, type=click.IntRange(1, 9), help="How many.")
    @option("--large-as-can-be", heading=HOW, type=click.FloatRange(0, max_open=True), help="Of it.")
    @option("--other", heading=WHAT, metavar="NAME", help="See sise-rt other.")
    @click.option("--own", help="As click does it.")
    def command(**_):
        """Do it, as in a.png. And more."""

    text = command.get_help(click.Context(command, info_name="it"))
    assert text.split("\n\n", 2)[2] == "\n".join(
        [
            "What:",
            "  --small N            How many.  [1<=N<=9]",
            "  --other NAME         See sise-rt other.",
            "",
            "How:",
            "  --large-as-can-be X  Of it.  [X>=0]",
            "",
            "Others:",
            "  --own TEXT           As click does it.",
            "  --help               Show this message and exit.",
        ]
    )
    assert command.get_short_help_str() == "Do it, as in a.png."
