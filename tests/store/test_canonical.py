import hashlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.store.canonical import canonical_json, digest, file_digest, readable_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


def test_the_text_is_sorted_dense_and_ascii() -> None:
    assert canonical_json({"b": (1, 2.0), "a": None, "ü": True}) == r'{"a":null,"b":[1,2.0],"\u00fc":true}'


def test_the_readable_text_is_indented_and_the_same_value() -> None:
    assert readable_json({"b": [1], "a": {}}) == '{\n  "a": {},\n  "b": [\n    1\n  ]\n}\n'


@given(JSON)
def test_every_value_reads_back_and_has_one_text(value: object) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
    assert canonical_json(json.loads(readable_json(value))) == text


@given(st.dictionaries(st.text(), JSON, min_size=2, max_size=5))
def test_the_order_of_keys_does_not_count(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))
    assert canonical_json(backwards) == canonical_json(value)
    assert digest(backwards) == digest(value)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_cannot_hold_are_refused(number: float) -> None:
    with pytest.raises(ValueError):
        canonical_json({"a": [number]})


@pytest.mark.parametrize("value", [{1: "a", "1": "b"}, [{None: 1}], ({"a": {True: 1}},)])
def test_keys_that_would_collide_as_strings_are_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ValueError):
        canonical_json(loop)


def test_a_digest_is_the_sha256_of_the_text() -> None:
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert digest(1) != digest(1.0)


@pytest.mark.parametrize("nbytes", [0, 1, (1 << 20) + 1])
def test_a_file_digest_covers_every_byte(tmp_path: Path, nbytes: int) -> None:
    data = bytes(range(256)) * (nbytes // 256 + 1)
    (tmp_path / "f").write_bytes(data[:nbytes])
    assert file_digest(tmp_path / "f") == hashlib.sha256(data[:nbytes]).hexdigest()
