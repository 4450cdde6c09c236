from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from densenet_serving import paths
from densenet_serving.build.class_names import find, parse, read, render
from densenet_serving.errors import CommandError
from handler.labels import Labels
from tests.densenet_serving.refusals import refused

NAMES = [("daisy", "daisy"), ("rose", "rose")]
PAIRS = [("n01", "daisy"), ("n02", "rose")]


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ({"0": ["n01", "daisy"], "1": ["n02", "rose"]}, PAIRS),
        ([["n01", "daisy"], ["n02", "rose"]], PAIRS),
        ({"1": "rose", "0": "daisy"}, NAMES),
        ({1: "rose", 0: "daisy"}, NAMES),
        (["daisy", "rose"], NAMES),
        (("daisy", "rose"), NAMES),
        ({"rose": 1, "daisy": 0}, NAMES),
        ({"0": 1, "1": 0}, [("1", "1"), ("0", "0")]),  # the folders of an ImageFolder, named by numbers
        ({str(i): f"flower {i}" for i in reversed(range(12))}, [(f"flower {i}",) * 2 for i in range(12)]),
    ],
)
def test_every_form_of_class_names(table: Any, names: list[tuple[str, str]], tmp_path: Path) -> None:
    assert parse(table) == names
    (tmp_path / "index_to_name.json").write_text(render(names))
    labels = Labels.read(tmp_path / "index_to_name.json")
    assert [labels[i] for i in range(len(labels))] == names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.json", '{"0": "daisy", "1": "rose"}'),
        ("labels", '["daisy", "rose"]'),
        ("labels.txt", "daisy\nrose\n\n"),
        ("labels.json", '{"daisy": "0", "rose": "1"}'),
        ("labels.json", '{"id2label": {"0": "daisy", "1": "rose"}, "model_type": "densenet"}'),
        ("labels.json", '{"classes": ["daisy", "rose"]}'),
        ("labels.txt", "{0: 'daisy',\n 1: 'rose'}"),
        ("labels.txt", "\ufeffdaisy\r\n rose "),
        ("labels.txt", "# flowers\ndaisy\n\nrose"),
        ("labels.txt", "name\ndaisy\nrose"),
        ("labels.txt", "0 daisy\n1 rose"),
        ("labels.txt", "1 rose\n0 daisy"),
        ("labels.txt", "1: rose\n0: daisy"),
        ("labels.txt", "0. daisy\n1. rose"),
        ("labels.txt", "0) daisy\n1) rose"),
        ("labels.txt", "0 - daisy\n1 - rose"),
        ("labels.txt", "1=rose\n0=daisy"),
        ("labels.txt", "1\trose\n0\tdaisy"),
        ("labels.txt", "daisy 0\nrose 1"),
        ("labels.csv", "rose,1\ndaisy,0"),
        ("labels.csv", "index,name\n1,rose\n0,daisy"),
        ("labels.csv", "class_name;class_id\nrose;1\ndaisy;0"),
        ("labels.csv", '"label","id"\n"rose",1\n"daisy",0'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_of_class_names(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(text.removeprefix("\ufeff").encode(encoding))
    assert read(tmp_path / name) == NAMES


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tench, Tinca tinca\ngoldfish", ["tench, Tinca tinca", "goldfish"]),
        ('0,"tench, Tinca tinca"\n1,goldfish', ["tench, Tinca tinca", "goldfish"]),
        ("grade 0\ngrade 1\ngrade 2", ["grade 0", "grade 1", "grade 2"]),
        ("1_mild\n0_normal", ["normal", "mild"]),
        ("001.Albatross\n002.Auklet", ["001.Albatross", "002.Auklet"]),
        ("0\n1\n2", ["0", "1", "2"]),
        ("1\n2\n3", ["1", "2", "3"]),
        ("Audi S4 Sedan 2012\nBMW M3 Coupe 2012", ["Audi S4 Sedan 2012", "BMW M3 Coupe 2012"]),
        ("7 up\ncola", ["7 up", "cola"]),
        ("/a/airfield 0\n/a/alley 1", ["/a/airfield", "/a/alley"]),
    ],
)
def test_numbers_and_commas_that_belong_to_names(tmp_path: Path, text: str, names: list[str]) -> None:
    (tmp_path / "labels.txt").write_text(text)
    assert [name for _, name in read(tmp_path / "labels.txt")] == names


def test_the_ids_of_imagenet(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish")
    assert read(tmp_path / "labels.txt") == [("n01440764", "tench, Tinca tinca"), ("n01443537", "goldfish")]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("labels.json", None, "There is no labels file .*labels.json: name one with --labels"),
        ("labels.json", b"{", "does not name the classes .*: give a JSON file with"),
        ("labels.json", b"3", "neither a list nor a mapping"),
        ("labels.json", b"[]", "neither a list nor a mapping"),
        ("labels.json", b"{}", "neither a list nor a mapping"),
        ("labels.json", b'{"1": "daisy"}', "there is no class 0"),
        ("labels.json", b'{"daisy": 1, "rose": 2}', "there is no class 0"),
        ("labels.json", b'{"daisy": 0, "rose": 0}', "there is no class 1"),
        ("labels.json", b'["daisy", 3]', "'3' is neither a name nor a pair"),
        ("labels.json", b'[["a", "b", "c"]]', "is neither a name nor a pair"),
        ("labels.json", b'["crane", "crane"]', "2 classes have the id 'crane'"),
        ("labels.txt", b"1 daisy\n2 rose", "line 1 is '1 daisy', whose number is not its place, 0 counted from 0"),
        ("labels.txt", b"daisy\n0 rose", "line 2 is '0 rose', whose number is not its place"),
        ("labels.txt", b"0 daisy\n0 rose", "line 2 is '0 rose', whose number is not its place"),
        ("labels.txt", b"0 daisy\n2 rose", "line 2 is '2 rose', whose number is not its place"),
        ("labels.txt", b"grade 1\ngrade 0", "line 1 is 'grade 1', whose number is not its place"),
        ("labels.txt", b"1\n0", "line 1 is '1', whose number is not its place"),
        ("labels.csv", b"index,name,id\n0,daisy,n01", "it has 3 columns"),
        ("labels.txt", "daisy".encode("utf-16-le"), "zero bytes, as of UTF-16"),
        ("labels.txt", b"daisy\xe4", "cannot be read"),
        ("labels.txt", b"", "neither a list nor a mapping"),
        ("labels.txt", b"\xff\xfe", "neither a list nor a mapping"),
    ],
)
def test_what_names_no_classes(tmp_path: Path, name: str, content: bytes | None, why: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with refused(path, why):
        read(path)


def test_what_is_written_is_the_file_of_this_repository() -> None:
    assert render(read(paths.LABELS)) == paths.LABELS.read_text(encoding="utf-8")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save({"class_to_idx": {"daisy": 0, "rose": 1}, "state_dict": {}}, tmp_path / "own.pth")
    return tmp_path / "own.pth"


def test_a_labels_file_wins_over_the_checkpoint_and_that_over_imagenet(checkpoint: Path, tmp_path: Path) -> None:
    assert find(None, checkpoint, 2) == NAMES
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(PAIRS))
    assert find(labels, checkpoint, 2) == PAIRS
    torch.save({}, checkpoint)
    assert len(find(None, checkpoint, 1000)) == 1000


def test_another_number_of_classes(checkpoint: Path, tmp_path: Path) -> None:
    with refused(checkpoint, "names 2 classes and the checkpoint has 3: give its own labels with --labels"):
        find(None, checkpoint, 3)
    torch.save({"classes": ["daisy", "daisy"]}, checkpoint)
    with refused(checkpoint, "does not name its classes well .*: name them with --labels"):
        find(None, checkpoint, 2)
    torch.save({}, checkpoint)
    with pytest.raises(CommandError, match=r"index_to_name.json names 1000 classes and the checkpoint has 2"):
        find(None, checkpoint, 2)
