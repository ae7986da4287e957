"""For all tests: files that take minutes come first, so that no process is left alone with one of them at the end."""

from __future__ import annotations

import pytest

LONGEST = (
    *("test_tuning.py", "cuda/test_all_compile.py", "test_agreement.py", "kernels/test_narrow.py", "test_bytes.py"),
    *("soak/test_soak.py", "lowering/test_quantized.py", "test_sizing.py", "lowering/test_fallback.py"),
    *("conformance/test_conformance.py", "kernels/test_metaschedule.py", "test_memory.py"),
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ranks = {config.rootpath / "tests" / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
