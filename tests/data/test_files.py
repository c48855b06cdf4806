"""Files of data sets: lists of every make, twins, and names."""

import pytest

from tmaseg.data.files import folders_in, frame_names, images_in, read_list
from tmaseg.errors import DataError

PAIR = ["images/a.png", "masks/a.png"]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("images/a.png masks/a.png", PAIR),
        ("images/a.png   masks/a.png  ", PAIR),
        ("images/a.png\tmasks/a.png", PAIR),
        ("images/a.png, masks/a.png", PAIR),
        ("images/a.png;masks/a.png;", PAIR),
        ('"images/a.png" "masks/a.png"', PAIR),
        ('images/a.png "masks/a.png"', PAIR),
        ("'images/a.png','masks/a.png'", PAIR),
        ("images\\a.png masks\\a.png", PAIR),
        ("images/my photo.png masks/my photo.png", ["images/my photo.png", "masks/my photo.png"]),
        ("images/my photo.png\tmasks/my photo.png", ["images/my photo.png", "masks/my photo.png"]),
        ('"images/my photo.png" masks/a.png', ["images/my photo.png", "masks/a.png"]),
        ("images/my photo.png", ["images/my photo.png"]),
        ("images/a,b;c.png masks/a.png", ["images/a,b;c.png", "masks/a.png"]),
        ("images/a,b;c.png,masks/a.png", ["images/a,b;c.png", "masks/a.png"]),
        ("images/it's.png masks/a.png", ["images/it's.png", "masks/a.png"]),
        ("/SegNet/CamVid/train/x.png /SegNet/CamVid/trainannot/x.png;", ["/SegNet/CamVid/train/x.png"] * 2),
        ("Seq05VD_f00030", ["Seq05VD_f00030"]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_line_of_a_list(tmp_path, line, fields, encoding, newline):
    for name in (*PAIR, "images/my photo.png", "masks/my photo.png", "images/a,b;c.png", "images/it's.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    path = tmp_path / "list.txt"
    path.write_bytes(newline.join(["# a comment", "", line, " ", line]).encode(encoding))
    found = read_list(path)
    if fields[0].startswith("/SegNet"):
        found, fields = [[each[0]] for each in found], fields[:1]
    assert found == [fields] * 2


def test_a_list_that_is_none(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\x89PNG\r\n\xff\xfe\xfa")
    for name in ("list.txt", "none.txt"):
        with pytest.raises(DataError, match=f"{name}: the list cannot be read"):
            read_list(tmp_path / name)


def test_lists_of_other_things_know_what_exists(tmp_path):
    (tmp_path / "list.txt").write_text("a film, the first\nb\n")
    assert read_list(tmp_path / "list.txt", {"a film, the first", "b"}.__contains__) == [["a film, the first"], ["b"]]


def test_two_images_of_one_stem_are_named(picture, tmp_path):
    for name in ("a.png", "a.jpg", "b.PNG", "b.bmp", "c.png", "._c.jpg"):
        picture(f"in/{name}" if not name.startswith(".") else "in/c2.png")
    problems = []
    found = images_in(tmp_path / "in", problems)
    assert [path.name for path in found.values()] == ["a.jpg", "b.PNG", "c.png", "c2.png"]
    (problem,) = problems
    assert "2 pairs (a.jpg and a.png, b.PNG and b.bmp) of one name but for the suffix: remove one of each" in problem
    assert images_in(tmp_path / "none", problems) == {}
    assert folders_in(tmp_path / "none") == []


def test_names_of_frames_are_short_and_differ(tmp_path):
    def names(*paths):
        return frame_names([tmp_path / path for path in paths], tmp_path)

    assert names("a/1.png", "b/1.png") == ["a/1", "b/1"]
    assert names("a/1.png", "a/1.jpg", "a/2.jpg") == ["a/1.png", "a/1.jpg", "a/2"]
    assert names("../x/a/1.png", "../x/2.png") == ["a/1", "2"]
    assert frame_names([tmp_path / "1.png", tmp_path.parent / "1.png"], tmp_path) == [f"{tmp_path.name}/1", "1"]
    assert frame_names([], tmp_path) == []
