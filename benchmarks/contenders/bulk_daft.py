"""A folder of photos as people classify it with Daft: paths, downloaded and classified by a batched class, to Parquet.

python -m benchmarks.contenders.bulk_daft FOLDER OUT, with CHECKPOINT in the environment.
"""

from __future__ import annotations

import sys

import daft
import torch
from daft import col

from benchmarks.contenders.eager import best_classes, load_model, transform


@daft.cls
class Classifier:
    def __init__(self) -> None:
        self._model = load_model()

    @daft.method.batch(return_dtype=daft.DataType.int64(), batch_size=32)
    def classify(self, photos: daft.Series) -> list[int]:
        return best_classes(self._model, torch.stack([transform(photo) for photo in photos.to_pylist()]))


def main(folder: str, output: str) -> None:
    classifier = Classifier()
    photos = daft.from_glob_path(f"{folder}/*.jpg")
    photos = photos.with_column("class", classifier.classify(col("path").url.download()))
    photos.select("path", "class").write_parquet(output)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
