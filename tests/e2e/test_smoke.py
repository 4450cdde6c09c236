from scripts import paths
from scripts.client import Client


def test_both_models_answer(client: Client) -> None:
    for model in ("densenet121", "efficientnet_lite0"):
        assert set(client.predict(model, paths.SAMPLE_PHOTO.read_bytes())) == {
            "class_id",
            "class_name",
            "probability",
            "recognized",
        }
