"""What a built archive holds, and that it runs alone. tests/test_package.py builds one elsewhere, equal to the byte."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version as installed
from pathlib import Path

from densenet_serving import paths
from densenet_serving.build.mar import MANIFEST, Archive
from densenet_serving.build.pack import CREATED_ON
from handler.card import CARD_FILE
from handler.labels import LABELS_FILE
from tests.densenet_serving.build.archive_files import members
from tests.pictures import SAMPLE_NAME

MODULES = {str(path.relative_to(paths.HANDLER)) for path in paths.HANDLER.rglob("*.py")}
# What only decoder processes import, and the engine that OpenVINO leaves unused.
IN_DECODERS = {"decoder_program.py", "images.py", "preprocessing.py", "engines/torch.py"}


def test_the_archive_holds_all_it_needs_and_nothing_else(densenet_archive: Path) -> None:
    found = set(members(densenet_archive))
    package = {f"handler/{name}" for name in MODULES - {"classifier.py"}}
    models = {"model.pt2", "model.xml", "head.npy", "model.bin"}
    assert found == package | models | {MANIFEST, "classifier.py", LABELS_FILE, CARD_FILE, "model-config.yaml"}


def test_what_is_copied_is_copied_as_it_is(densenet_archive: Path) -> None:
    content = members(densenet_archive)
    assert content[LABELS_FILE] == paths.LABELS.read_bytes()
    for name in MODULES:
        member = name if name == "classifier.py" else f"handler/{name}"
        assert content[member] == (paths.HANDLER / name).read_bytes()


def test_the_card(densenet_archive: Path, seeded_checkpoint: Path) -> None:
    import hashlib

    card = json.loads(members(densenet_archive)[CARD_FILE])
    assert card["name"] == "densenet121"
    assert card["architecture"] == "DenseNet-121"
    assert card["version"] == "1.0"
    assert card["classes"] == 1000
    assert card["weights"]["source"] == "file seeded.pth"
    assert [card["weights"][name] for name in ("training", "accuracy", "temperature")] == [None] * 3
    assert card["weights"]["sha256"] == hashlib.sha256(seeded_checkpoint.read_bytes()).hexdigest()
    assert card["preprocessing"]["resize"] == 255
    assert card["built_with"]["torch"] == installed("torch")


def test_the_stand_in_never_calls_itself_densenet(stand_in_archive: Path) -> None:
    content = members(stand_in_archive)
    card = json.loads(content[CARD_FILE])
    assert (card["name"], card["architecture"]) == ("efficientnet_lite0", "EfficientNet-Lite0")
    assert card["preprocessing"]["interpolation"] == "bicubic"
    assert b"ensenet" not in content[CARD_FILE] + content[MANIFEST]


def test_the_manifest(densenet_archive: Path) -> None:
    manifest = json.loads(members(densenet_archive)[MANIFEST])
    assert manifest["createdOn"] == CREATED_ON
    assert manifest["model"]["handler"] == "classifier.py"
    archive = Archive.read(densenet_archive)
    assert (archive.name, archive.version) == ("densenet121", "1.0")


CLASSIFY = """
import json, sys, yaml
sys.path.insert(0, sys.argv[1])
import classifier
from types import SimpleNamespace

class Context(SimpleNamespace):
    def get_all_request_header(self, index): return {}
    def set_response_content_type(self, index, value): pass
    def set_response_header(self, index, key, value): pass
    def set_response_status(self, code, phrase, idx): self.code = code

context = Context(
    system_properties={"model_dir": sys.argv[1], "gpu_id": None, "batch_size": 1},
    model_yaml_config=yaml.safe_load(open(sys.argv[1] + "/model-config.yaml")),
    metrics=SimpleNamespace(cache={}),
)
entry = classifier.ImageClassifier()
entry.initialize(context)
body = entry.handle([{"body": open(sys.argv[2], "rb").read()}], context)[0]
files = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] in ("handler", "classifier")]
print(json.dumps({"answer": json.loads(body), "code": context.code, "files": files, "ts": "ts" in sys.modules}))
"""


def test_the_archive_runs_by_itself(stand_in_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-c", CLASSIFY, str(stand_in_folder), str(paths.SAMPLE_PHOTO)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["code"] == 200
    assert said["answer"]["class_name"] == SAMPLE_NAME
    assert len(said["files"]) >= len(MODULES - IN_DECODERS)
    assert all(Path(file).is_relative_to(stand_in_folder) for file in said["files"])
    assert said["ts"] is False
