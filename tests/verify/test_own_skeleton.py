"""`covop new`: a file that runs, says what to replace, and is never written over another one."""

import ast

import pytest

from verify.own.skeleton import skeleton, write_new

NAME = "my_statement.py"


def test_a_new_file_holds_and_its_false_twin_is_refuted(in_process, tmp_path):
    made = in_process("verify", "new", NAME)
    assert (made.returncode, made.stderr) == (0, "")
    assert f"covop run {NAME}" in made.stdout
    result = in_process("verify", "run", NAME)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Statement [my-statement] holds" in result.stdout
    text = (tmp_path / NAME).read_text()
    (tmp_path / NAME).write_text(text.replace("power=1", "power=2"))
    assert in_process("verify", "run", NAME).returncode == 1


def test_it_says_which_lines_to_replace(tmp_path):
    text = skeleton(tmp_path / NAME)
    ast.parse(text)
    assert 10 <= text.count("  # yours") <= 15
    assert max(len(line) for line in text.splitlines()) <= 120
    for word in ("symbolic", "exact", "relation", "order", "trained", "drops"):
        assert f"# {word}=" in text


def test_nothing_is_overwritten(in_process, tmp_path):
    (tmp_path / NAME).write_text("mine")
    result = in_process("verify", "new", NAME)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: file '{NAME}': exists, must be a new file\n"
    assert (tmp_path / NAME).read_text() == "mine"
    (tmp_path / "link.py").symlink_to("nowhere.py")
    assert in_process("verify", "new", "link.py").returncode == 2
    assert not (tmp_path / "nowhere.py").exists()


@pytest.mark.parametrize("name", ["x.txt", "x", "a b.py", "no/x.py", "ä.py", "x'.py", ".."])
def test_a_name_that_is_none_is_refused_in_a_line(name, in_process):
    result = in_process("verify", "new", name)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["a.py", "2101.00001-v2.py", "___.py", "X" * 90 + ".py"])
def test_a_title_is_made_of_any_name(name, tmp_path):
    write_new(tmp_path / name)
    text = (tmp_path / name).read_text()
    title = text.split('title="')[1].split('"')[0]
    assert 0 < len(title) <= 60


def test_quiet_says_nothing(in_process, tmp_path):
    result = in_process("verify", "new", NAME, "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / NAME).exists()
