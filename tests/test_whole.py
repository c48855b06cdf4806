"""A file is there whole or not at all."""

import pytest

from tmaseg.whole import written_whole


def write(path, error):
    with written_whole(path) as part:
        part.write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "weights"
    path.write_text("old")
    with pytest.raises(type(error)):
        write(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_holds_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "weights"
    path.write_text("old")
    with written_whole(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_move_that_fails_removes_what_was_written(tmp_path):
    path = tmp_path / "weights"
    path.mkdir()
    with pytest.raises(IsADirectoryError), written_whole(path) as part:
        part.write_text("new")
    assert list(tmp_path.iterdir()) == [path]
