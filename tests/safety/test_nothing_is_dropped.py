"""Nothing is dropped in silence: options before a command are refused, counterexamples of a bundle are there to replay."""

import pytest


@pytest.mark.parametrize(
    ("option", "command"),
    [
        (["--seed", "7"], ["run", "x.py"]),
        (["--json", "-"], ["replay", "x.json"]),
        (["--quiet"], ["loss", "r_p"]),
        (["--report", "out"], ["check-bundle", "x.zip"]),
    ],
)
def test_an_option_before_a_command_is_refused(in_process, option, command):
    done = in_process("verify", *option, *command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {option[0]} before {command[0]}: must come after the subcommand\n"


def test_what_a_bundle_names_can_be_replayed(tmp_path, warm):
    """Its counterexamples lie beside it as well, where the printed place says."""
    done = warm("verify.theorem2", "--variants", "--bundle", "b.zip", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "counterexamples to replay in counterexamples" in done.stdout
    saved = sorted((tmp_path / "counterexamples").glob("*.json"))
    assert len(saved) == 8
    assert warm("verify", "replay", saved[0], cwd=tmp_path).returncode == 1
