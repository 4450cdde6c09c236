"""A folder of photos as people classify it with Daft: its downloads and decoder, and the network in eager mode.

python -m benchmarks.contenders.bulk_daft FOLDER OUT WORKERS, with CHECKPOINT in the environment.
"""

import sys

import daft
import torch
from daft.functions import decode_image, download
from PIL import Image

from benchmarks.contenders.eager import TRANSFORM, best_classes, load_model

BATCH = 32


class Classifier:
    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        self.model = load_model()

    @daft.method.batch(return_dtype=daft.DataType.int64(), batch_size=BATCH)
    def classify(self, images: daft.Series) -> list[int]:
        batch = torch.stack([TRANSFORM(Image.fromarray(image)) for image in images.to_pylist()])
        return best_classes(self.model, batch)


def main(folder: str, output: str, workers: int) -> None:
    """Daft makes a process for each worker, which has one thread, so that they do not compete for the cores."""
    classifier = daft.cls(Classifier, max_concurrency=workers, use_process=True)(1)
    photos = daft.from_glob_path(f"{folder}/*.jpg")
    images = decode_image(download(photos["path"]))
    photos.select("path", classifier.classify(images).alias("class")).write_csv(output)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
