"""A cache of small files that many processes may fill at once.

An entry is the file `ROOT/KK/KEY-SHA256[SUFFIX]`, KK the first two digits of its key and SHA256 that of its content:
one rename makes an entry visible together with its checksum, so there is no torn entry, and any number of writers may
put the same key (the newest wins). The file's modification time is when it was last used.
"""

import contextlib
import json
import logging
import math
import os
import re
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from gacer_tune.store.canonical import canonical_json, file_digest
from gacer_tune.store.durable import refusing, write_new

ENVIRONMENT = "GACER_TUNE_CACHE"
_KEY = re.compile(r"[0-9a-f]{8,128}")
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,12})?")
_FILE = re.compile(r"(?P<key>[0-9a-f]{8,128})-(?P<sha256>[0-9a-f]{64})(\.[a-z0-9]{1,12})?")
_ASIDE = "corrupt"
_UNFINISHED = "unfinished"
# A path that `put` has just returned must not vanish when another process puts the same key.
_SUPERSEDED_GRACE_S = 60.0
_UNFINISHED_MAX_AGE_S = 3600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the cache; `used_ns` is the time of its last use, nanoseconds since the epoch."""

    key: str
    sha256: str
    path: Path
    nbytes: int
    used_ns: int


def default_root(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder named by GACER_TUNE_CACHE, else the user's cache folder of this system."""
    named = environ.get(ENVIRONMENT, "")
    return Path(named or platformdirs.user_cache_dir("gacer-tune")).expanduser().absolute()


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache in one folder, which the first `put` makes. A key is 8 to 128 lower-case hex digits."""

    root: Path = field(default_factory=default_root)

    def get(self, key: str) -> Path | None:
        """The file of a key, checked against its hash and marked as used; None where there is none.

        A corrupt file is a miss and is moved to `ROOT/corrupt`, with one line in the log; an older version of the key
        that was not yet removed then answers for it. Raises UserError where the folder cannot be read. The file may be
        gone a moment later where another process collects garbage.
        """
        for entry in self._versions(key):
            found = _digest(entry.path)
            if found == entry.sha256:
                _mark_used(entry.path, time.time_ns())
                return entry.path
            if found is not None:
                _log.warning("%s: damaged, it is made anew", entry.path)
                self._set_aside(entry)
        return None

    def put(self, key: str, data: bytes, suffix: str = "") -> Path:
        """Store the bytes and return their file, named with `suffix` for loaders that go by it (`.so`).

        Raises UserError naming the folder where it cannot be written; then nothing is left behind.
        """
        # Not synced: a file that a power failure has cut does not match the hash in its name, and is a miss.
        return self._put(key, lambda path: write_new(path, data, sync=False).sha256, suffix)

    def put_written(self, key: str, write: Callable[[Path], None], suffix: str = "") -> Path:
        """As `put`, for what is too large to be held in memory: `write` makes the file of the name it is given."""

        def written(path: Path) -> str:
            write(path)
            return file_digest(path)

        return self._put(key, written, suffix)

    def _put(self, key: str, write: Callable[[Path], str], suffix: str) -> Path:
        """write: makes a file and returns the sha256 of what is in it."""
        if _SUFFIX.fullmatch(suffix) is None:
            raise ValueError(f"suffix {suffix!r}: a dot and at most 12 lower-case letters or digits are allowed")
        older = self._versions(key)
        unfinished = self.root / _UNFINISHED / uuid.uuid4().hex
        with refusing(self.root):
            for folder in (unfinished.parent, self._folder(key)):
                folder.mkdir(parents=True, exist_ok=True)
            try:
                path = self._folder(key) / f"{key}-{write(unfinished)}{suffix}"
                # Later than the older versions even where the clock was set back, for the newest one wins.
                _mark_used(unfinished, max([time.time_ns(), *(entry.used_ns + 1 for entry in older)]))
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
            _remove_superseded(older, path)
        return path

    def get_json(self, key: str) -> dict[str, Any] | None:
        """The JSON object of a key; None where there is none or the key holds something else."""
        path = self.get(key)
        if path is None or path.suffix != ".json":
            return None
        # Removed by another process since, or put by a caller who does not keep to put_json: no document either way.
        with contextlib.suppress(FileNotFoundError, ValueError, RecursionError):
            document = json.loads(path.read_text(encoding="ascii"))
            return document if isinstance(document, dict) else None
        return None

    def put_json(self, key: str, document: Mapping[str, Any]) -> Path:
        """Store a JSON object; raises ValueError or TypeError for what JSON cannot hold."""
        return self.put(key, canonical_json(dict(document)).encode("ascii"), ".json")

    def list(self) -> tuple[Entry, ...]:
        """All entries, last used first; superseded versions of a key are entries too until they are removed."""
        found = [entry for path in self._files() if (entry := _entry(path)) is not None]
        return tuple(sorted(found, key=_newest_first))

    def verify(self) -> tuple[Entry, ...]:
        """Check all entries; the corrupt ones are moved to `ROOT/corrupt` and returned."""
        corrupt = tuple(entry for entry in self.list() if _digest(entry.path) not in (entry.sha256, None))
        for entry in corrupt:
            self._set_aside(entry)
        return corrupt

    def gc(
        self, max_bytes: float = math.inf, max_age_s: float = math.inf, suffix: str | None = None
    ) -> tuple[Entry, ...]:
        """Remove entries not used for `max_age_s`, then the least recently used until `max_bytes` hold the rest.

        Only those with `suffix` count where one is given. Returns what was removed. What is set aside or was left
        unfinished by a killed writer goes when it is old.
        """
        entries = tuple(entry for entry in self.list() if suffix in (None, entry.path.suffix))
        now_ns, nbytes, removed = time.time_ns(), sum(entry.nbytes for entry in entries), []
        with refusing(self.root):
            for entry in reversed(entries):
                too_old = now_ns - entry.used_ns > max_age_s * 1e9
                if (too_old or nbytes > max_bytes) and _remove(entry):
                    nbytes -= entry.nbytes
                    removed.append(entry)
            _remove_older(self.root / _ASIDE, max_age_s)
            _remove_older(self.root / _UNFINISHED, _UNFINISHED_MAX_AGE_S)
        return tuple(removed)

    def _folder(self, key: str) -> Path:
        return self.root / key[:2]

    def _files(self, shard: str = "[0-9a-f][0-9a-f]", prefix: str = "") -> Iterator[Path]:
        with refusing(self.root, "cannot be read"):
            yield from self.root.glob(f"{shard}/{prefix}*")

    def _versions(self, key: str) -> tuple[Entry, ...]:
        """The files of one key, newest first."""
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"cache key {key!r}: 8 to 128 lower-case hex digits are allowed")
        found = [entry for path in self._files(key[:2], f"{key}-") if (entry := _entry(path)) is not None]
        return tuple(sorted(found, key=_newest_first))

    def _set_aside(self, entry: Entry) -> None:
        # Where the folder is read-only the file stays, and stays a miss.
        with contextlib.suppress(OSError):
            aside = self.root / _ASIDE
            aside.mkdir(exist_ok=True)
            entry.path.replace(aside / entry.path.name)


def open_cache(root: Path | None) -> Cache:
    """The cache in a folder, in `default_root()` where none is named."""
    return Cache(root or default_root())


def _entry(path: Path) -> Entry | None:
    """The entry in a file; None for what is no entry or is gone."""
    match = _FILE.fullmatch(path.name)
    if match is None or not match["key"].startswith(path.parent.name):
        return None
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(facts.st_mode):
        return None
    return Entry(match["key"], match["sha256"], path, facts.st_size, facts.st_mtime_ns)


def _digest(path: Path) -> str | None:
    """The hash of a file's content; None where the file is gone."""
    with refusing(path, "cannot be read"):
        try:
            return file_digest(path)
        except FileNotFoundError:
            return None


def _newest_first(entry: Entry) -> tuple[int, str]:
    return -entry.used_ns, entry.path.name


def _mark_used(path: Path, now_ns: int) -> None:
    # A cache on a read-only disk can still be read; only its order of use is not kept.
    with contextlib.suppress(OSError):
        os.utime(path, ns=(now_ns, now_ns))


def _remove(entry: Entry) -> bool:
    """Remove an entry unless it was used since it was listed."""
    with contextlib.suppress(FileNotFoundError):
        if entry.path.stat().st_mtime_ns != entry.used_ns:
            return False
        entry.path.unlink()
    return True


def _remove_superseded(older: tuple[Entry, ...], newest: Path) -> None:
    horizon_ns = time.time_ns() - int(_SUPERSEDED_GRACE_S * 1e9)
    for entry in older:
        if entry.path != newest and entry.used_ns < horizon_ns:
            _remove(entry)


def _remove_older(folder: Path, max_age_s: float) -> None:
    now_s = time.time()
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            if now_s - path.stat().st_mtime > max_age_s:
                path.unlink()
