from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, PrivateFormat

from densenet_serving import paths
from densenet_serving.build.archives import Archive
from densenet_serving.errors import CommandError
from densenet_serving.server.capacity import with_heap_limit
from densenet_serving.server.config import (
    PAIR,
    TAKES_MODELS,
    TAKES_PHOTOS,
    check_pair,
    exposed_with_models,
    secure,
    settings_of,
)
from densenet_serving.server.ports import HTTP_ADDRESSES
from handler.cores import default_workers
from tests import certificates
from tests.certificates import Pair
from tests.densenet_serving.build.archive_files import write_archive


def write_config(folder: Path, text: str) -> Path:
    path = folder / "config.properties"
    path.write_text(text)
    return path


def test_a_persons_settings_win_over_the_computed_ones(tmp_path: Path) -> None:
    config = write_config(tmp_path, "job_queue_size=7\nload_models=all\nmetrics_address=http://127.0.0.1:9999\n")
    settings = settings_of(config, tmp_path, [Archive.read(write_archive(tmp_path / "m.mar"))], None, {})
    assert settings == {
        "inference_address": "http://127.0.0.1:8080",
        "management_address": "http://127.0.0.1:8081",
        "metrics_address": "http://127.0.0.1:9999",
        "grpc_inference_port": "7070",
        "grpc_management_port": "7071",
        "default_workers_per_model": str(default_workers()),
        "job_queue_size": "7",
        "model_store": str(tmp_path),
        "load_models": "m.mar",
        "vmargs": with_heap_limit({"job_queue_size": "7"}),
    }


def test_options_win_over_a_persons_settings(tmp_path: Path) -> None:
    config = write_config(tmp_path, "default_workers_per_model=9\nenable_model_api=true\n")
    settings = settings_of(config, tmp_path, [], 9000, {"enable_model_api": "false"})
    names = ("default_workers_per_model", "enable_model_api", "grpc_management_port")
    assert [settings[name] for name in names] == ["9", "false", "9004"]


def test_the_metrics_file_is_named_in_full(tmp_path: Path) -> None:
    assert settings_of(paths.SERVER_CONFIG, tmp_path, [], None, {})["metrics_config"] == str(paths.METRICS_CONFIG)
    with pytest.raises(CommandError, match=f"{tmp_path}/mine.yaml.*metrics_config"):
        settings_of(write_config(tmp_path, "metrics_config=mine.yaml\n"), tmp_path, [], None, {})


LOCAL = {
    "inference_address": "http://127.0.0.1:8080",
    "management_address": "https://localhost:8081",
    "metrics_address": "http://[::1]:8082",
    "grpc_inference_address": "127.0.0.1",
    "grpc_management_address": "127.0.0.1",
    "enable_model_api": "true",
}


@pytest.mark.parametrize(
    ("names", "changes", "exposed"),
    [
        (TAKES_MODELS, {}, False),
        (TAKES_MODELS, {"management_address": "unix:/tmp/management.sock"}, False),
        (TAKES_MODELS, {"management_address": "http://127.8.8.8:8081"}, False),
        (TAKES_MODELS, {"management_address": "http://0.0.0.0:8081"}, True),
        (TAKES_MODELS, {"management_address": "https://[::]:8081"}, True),
        (TAKES_MODELS, {"management_address": "http://models.example.org:8081"}, True),
        (TAKES_MODELS, {"grpc_management_address": "0.0.0.0"}, True),  # noqa: S104
        (TAKES_PHOTOS, {}, False),
        (TAKES_PHOTOS, {"management_address": "http://0.0.0.0:8081"}, False),
        (TAKES_PHOTOS, {"inference_address": "http://10.0.0.1:8080"}, True),
        (TAKES_PHOTOS, {"metrics_address": "http://10.0.0.1:8082"}, True),
        (TAKES_PHOTOS, {"grpc_inference_address": "::"}, True),
    ],
)
def test_addresses_that_other_machines_reach_while_models_can_come(
    names: tuple[str, ...], changes: dict[str, str], exposed: bool
) -> None:
    expected = "".join(f"{name}={address}" for name, address in changes.items()) if exposed else ""
    assert exposed_with_models(LOCAL | changes, names) == expected
    assert exposed_with_models(LOCAL | changes | {"enable_model_api": "false"}, names) == ""


def test_models_from_other_machines_are_refused_unless_they_are_fixed(tmp_path: Path) -> None:
    config = write_config(tmp_path, "management_address=http://0.0.0.0:8081\nenable_model_api=True\n")
    with pytest.raises(CommandError, match=r"management_address=http://0\.0\.0\.0:8081 .*--fixed-models"):
        settings_of(config, tmp_path, [], None, {})
    assert settings_of(config, tmp_path, [], None, {"enable_model_api": "false"})
    assert settings_of(config, tmp_path, [], 9000, {})  # --port puts every address on 127.0.0.1


PLAIN = {name: f"http://127.0.0.1:{port}" for name, port in zip(HTTP_ADDRESSES, (1, 2, 3), strict=True)}


@pytest.mark.parametrize("relative", [True, False])
def test_a_certificate_makes_every_address_https(pair: Pair, relative: bool) -> None:
    """Relative paths start at the folder of the settings."""
    files = dict(zip(PAIR, (str(pair.certificate), str(pair.key)), strict=True))
    given = {name: Path(path).name for name, path in files.items()} if relative else files
    values = secure(PLAIN | given | {"job_queue_size": "1"}, pair.key.parent if relative else Path("/elsewhere"))
    assert [values[name] for name in HTTP_ADDRESSES] == [f"https://127.0.0.1:{port}" for port in (1, 2, 3)]
    assert {name: values[name] for name in PAIR} == files
    assert (values["enable_grpc_ssl"], values["job_queue_size"]) == ("true", "1")


@pytest.mark.parametrize(
    "values", [{"metrics_address": "https://127.0.0.1:3"}, {"certificate_file": "a.pem"}, {"private_key_file": "a.key"}]
)
def test_an_https_address_without_a_certificate(values: dict[str, str]) -> None:
    """TorchServe would make one up in silence. A certificate without its key is none either."""
    with pytest.raises(CommandError, match="--tls-cert and --tls-key"):
        secure(PLAIN | values, Path())
    assert secure(PLAIN, Path()) == PLAIN


def test_a_certificate_that_torchserve_cannot_serve(pair: Pair, tmp_path: Path) -> None:
    made = certificates.make
    (elliptic := tmp_path / "elliptic").mkdir()
    pairs = {
        "RSA": made(elliptic, key=ec.generate_private_key(ec.SECP256R1())),
        "127.0.0.1.key.*photos.example.org.pem": Pair(pair.certificate, made(tmp_path).key),
    }
    for named, given in pairs.items():
        with pytest.raises(CommandError, match=named):
            check_pair(*given)


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_key_in_another_form_gets_the_command_that_converts_it(tmp_path: Path, encrypted: bool) -> None:
    form = PrivateFormat.PKCS8 if encrypted else PrivateFormat.TraditionalOpenSSL
    pair = certificates.make(tmp_path, form=form, encryption=BestAvailableEncryption(b"x") if encrypted else None)
    with pytest.raises(CommandError, match=f"openssl pkcs8 -topk8 -nocrypt -in {pair.key.name}"):
        check_pair(*pair)


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"])
def test_files_that_hold_something_else(pair: Pair, tmp_path: Path, text: str) -> None:
    (wrong := tmp_path / "no.pem").write_text(text)
    (damaged := tmp_path / "a.key").write_text(pair.key.read_text().replace("M", "N"))
    for certificate, key, named in (
        (wrong, pair.key, wrong),
        (pair.certificate, damaged, damaged),
        (pair.certificate, tmp_path / "nowhere.key", tmp_path / "nowhere.key"),
    ):
        with pytest.raises(CommandError, match=str(named)):
            check_pair(certificate, key)
