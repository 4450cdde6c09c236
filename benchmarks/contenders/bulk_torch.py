"""A folder of photos as people classify it with PyTorch: a DataLoader that decodes, and the network in eager mode.

python -m benchmarks.contenders.bulk_torch FOLDER OUT.csv WORKERS, with CHECKPOINT in the environment.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import torch

from benchmarks.contenders.eager import best_classes, load_model, transform


class Photos(torch.utils.data.Dataset[tuple[str, torch.Tensor]]):
    def __init__(self, folder: str) -> None:
        self._paths = sorted(Path(folder).glob("*.jpg"))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[str, torch.Tensor]:
        path = self._paths[index]
        return str(path), transform(path.read_bytes())


def main(folder: str, output: str, workers: int) -> None:
    model = load_model()
    loader = torch.utils.data.DataLoader(Photos(folder), batch_size=32, num_workers=workers)
    with Path(output).open("w", newline="") as stream:
        writer = csv.writer(stream)
        for paths, batch in loader:
            writer.writerows(zip(paths, best_classes(model, batch), strict=True))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
