from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from densenet_serving import paths
from densenet_serving.build.class_names import find, parse, read, render
from handler.card import Task
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
        ("labels.txt", "daisy\r\n rose "),
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
    (tmp_path / name).write_bytes(text.encode(encoding))
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
        ("n01440764 tench, Tinca tinca\nn01443537 goldfish", ["tench, Tinca tinca", "goldfish"]),
    ],
)
def test_numbers_and_commas_that_belong_to_names(tmp_path: Path, text: str, names: list[str]) -> None:
    (tmp_path / "labels.txt").write_text(text)
    found = read(tmp_path / "labels.txt")
    assert [name for _, name in found] == names
    assert [one for one, _ in found] == (["n01440764", "n01443537"] if text.startswith("n0") else names)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("labels.json", None, "No such file.* --labels"),
        ("labels.json", b"{", '{"daisy": 0, "rose": 1}'),
        ("labels.json", b"3", "neither a list nor a mapping"),
        ("labels.json", b"[]", "neither a list nor a mapping"),
        ("labels.json", b"{}", "neither a list nor a mapping"),
        ("labels.json", b'{"1": "daisy"}', "no class 0"),
        ("labels.json", b'{"daisy": 1, "rose": 2}', "no class 0"),
        ("labels.json", b'{"daisy": 0, "rose": 0}', "no class 1"),
        ("labels.json", b'["daisy", 3]', "'3'"),
        ("labels.json", b'[["a", "b", "c"]]', "'c'"),
        ("labels.json", b'["crane", "crane"]', "'crane'"),
        ("labels.txt", b"1 daisy\n2 rose", "line 1 is '1 daisy'"),
        ("labels.txt", b"daisy\n0 rose", "line 2 is '0 rose'"),
        ("labels.txt", b"0 daisy\n0 rose", "line 2 is '0 rose'"),
        ("labels.txt", b"0 daisy\n2 rose", "line 2 is '2 rose'"),
        ("labels.txt", b"grade 1\ngrade 0", "line 1 is 'grade 1'"),
        ("labels.txt", b"1\n0", "line 1 is '1'"),
        ("labels.csv", b"index,name,id\n0,daisy,n01", "3 columns"),
        ("labels.txt", "daisy".encode("utf-16-le"), "UTF-16"),
        ("labels.txt", b"daisy\xe4", "utf-8"),
        ("labels.txt", b"", "neither a list nor a mapping"),
        ("labels.txt", b"\xff\xfe", "neither a list nor a mapping"),
    ],
)
def test_what_names_no_classes(tmp_path: Path, name: str, content: bytes | None, named: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with refused(path, named):
        read(path)


def test_what_is_written_is_the_file_of_this_repository() -> None:
    assert render(read(paths.LABELS)) == paths.LABELS.read_text(encoding="utf-8")


def test_a_labels_file_wins_over_the_checkpoint_and_that_over_imagenet(tmp_path: Path) -> None:
    said = {"daisy": 0, "rose": 1}
    (labels := tmp_path / "labels.json").write_text(json.dumps(PAIRS))
    assert find(labels, tmp_path, said, 2, "single-label") == PAIRS
    assert find(None, tmp_path, said, 2, "single-label") == NAMES
    assert len(find(None, tmp_path, None, 1000, "single-label")) == 1000


@pytest.mark.parametrize(
    ("said", "classes", "task", "named"),
    [
        (["daisy", "rose"], 3, "single-label", "2 classes .* has 3.*--labels"),
        (["daisy"], 1, "single-label", "1 classes .* 2 apart .*--task multi-label"),
        (["a", "b", "c"], 1, "multi-label", "3 classes .* has 1"),
        (["daisy", "daisy"], 2, "single-label", "'daisy'.*--labels"),
    ],
)
def test_another_number_of_classes(tmp_path: Path, said: list[str], classes: int, task: Task, named: str) -> None:
    with refused(tmp_path / "own.pth", named):
        find(None, tmp_path / "own.pth", said, classes, task)
