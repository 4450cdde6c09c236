"""What documents show: blocks of code, which tests run as they are."""

from __future__ import annotations

import re

from densenet_serving import paths


def blocks(document: str, language: str) -> list[str]:
    """Return the blocks of code of one language in a document, which must have some."""
    text = (paths.ROOT / document).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found
    return found
