from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from densenet_serving.errors import CommandError
from training.files import is_held_out, read_labelled, read_photos


def pack(folder: Path, tar: Path) -> Path:
    with tarfile.open(tar, "w") as file:
        for path in sorted(folder.iterdir(), reverse=True):
            file.add(path, path.name)
    return tar


def test_a_folder_and_a_tar_of_it_give_the_same_photos_in_the_same_order(folder: Path, tmp_path: Path) -> None:
    from_folder = list(read_photos([folder]))
    assert len(from_folder) == 40
    assert list(read_photos([pack(folder, tmp_path / "photos.tar")])) == from_folder


def test_several_sources_follow_each_other_and_other_files_are_left_out(tmp_path: Path) -> None:
    for name in ("a/deep/one.JPG", "a/notes.txt", "b/two.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    found = list(read_photos([tmp_path / "b", tmp_path / "a"]))
    assert found == [("two.png", b"b/two.png"), ("deep/one.JPG", b"a/deep/one.JPG")]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("missing", None, "There is no folder or file .*missing: name a folder of photos"),
        ("empty", "folder", "The folder .*empty holds no photo"),
        ("photos.tar", b"no tar", "photos.tar is no .tar file, or is cut short"),
        ("void.tar", "tar", "void.tar holds no photo"),
    ],
)
def test_what_holds_no_photos_is_said_in_a_sentence(
    tmp_path: Path, name: str, content: bytes | str | None, sentence: str
) -> None:
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content == "tar":
        (tmp_path / "nothing").mkdir()
        pack(tmp_path / "nothing", path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(CommandError, match=sentence):
        list(read_photos([path]))


def test_a_share_of_the_names_is_held_out_whatever_else_is_there() -> None:
    names = [f"{number:06}.jpg" for number in range(10_000)]
    held_out = [name for name in names if is_held_out(name)]
    assert 250 < len(held_out) < 375  # one in 32
    assert not is_held_out(next(name for name in names if name not in held_out))


def test_labels_are_the_names_and_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0281.jpg").write_bytes(b"cat")
    assert list(read_labelled(tmp_path)) == [(281, b"cat")]
    (tmp_path / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(CommandError, match=r"cat\.jpg in .* does not name a class"):
        list(read_labelled(tmp_path))


def test_what_cannot_be_read_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(bytes(600))
    (tmp_path / "photos" / "b.jpg").write_bytes(bytes(600))
    cut = pack(tmp_path / "photos", tmp_path / "cut.tar")  # b, then a
    cut.write_bytes(cut.read_bytes()[: 1536 + 600])
    (tmp_path / "photos" / "gone.jpg").symlink_to("nowhere")
    assert [name for name, _ in read_photos([tmp_path / "photos", cut])] == ["a.jpg", "b.jpg", "b.jpg"]
    said = capsys.readouterr().err
    assert f"Left out of {tmp_path}/photos, since they cannot be read" in said
    assert "gone.jpg (No such file or directory)" in said
    assert "cut.tar is damaged or cut short (unexpected end of data)" in said
