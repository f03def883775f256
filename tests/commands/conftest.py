"""The command line, run in the process of the tests."""

import pytest

from sise_rt.commands.group import run


@pytest.fixture
def sise(capsys):
    """Run the command in this process: (exit code, standard output, standard error)."""

    def invoke(*arguments):
        code = run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return invoke
