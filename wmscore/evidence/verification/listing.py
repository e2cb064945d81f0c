"""The files that are in a folder, against those that its checksums list."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from wmscore.evidence.verification.findings import Findings, shown
from wmscore.files import json_text, sha256_file

__all__ = ["SUMS", "check_sums", "list_files"]

SUMS = "checksums.json"
_MOST_FILES = 100_000
_MOST_BYTES = 64 * 2**20  # of a list of checksums


def list_files(folder: Path, findings: Findings) -> dict[str, os.stat_result]:
    """Regular files by their path in the folder, in order; links and devices are problems.

    Nothing is opened, and no link is followed: what it leads to is not in the folder.
    """
    found: dict[str, os.stat_result] = {}
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                name = Path(entry.path).relative_to(folder).as_posix()
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(about.st_mode):
                    waiting.append(Path(entry.path))
                elif stat.S_ISREG(about.st_mode):
                    found[name] = about
                else:
                    kind = "a link" if stat.S_ISLNK(about.st_mode) else "no regular file"
                    findings.add(name, [f"expected a file, got {kind}; it was not opened"])
                if len(found) > _MOST_FILES:
                    raise ValueError(f"{folder}: more than {_MOST_FILES:,} files, no evidence")
    return dict(sorted(found.items()))


def check_sums(folder: Path, files: dict[str, os.stat_result], findings: Findings) -> bool:
    """Hash every file; True where all are as listed, none is missing and none is there besides."""
    before = len(findings.problems)
    if SUMS not in files:
        return findings.add(SUMS, ["missing"])
    listed = _listed(folder / SUMS, files[SUMS].st_size, findings)
    if listed is None:
        return False
    for name in sorted(files.keys() - listed.keys() - {SUMS}):
        findings.add(name, [f"not listed in {SUMS}: added later"])
    for name, digest in listed.items():
        if name not in files:
            findings.add(name, [f"missing; {SUMS} lists it"])
        elif sha256_file(folder / name) != digest:
            findings.add(name, [f"changed: its SHA-256 is not that of {SUMS}"])
    findings.checked.append(f"SHA-256 of {len(listed.keys() & files.keys())} files")
    return len(findings.problems) == before


def _listed(path: Path, size: int, findings: Findings) -> dict[str, str] | None:
    if size > _MOST_BYTES:
        findings.add(SUMS, [f"expected a list of checksums, got {size:,} bytes"])
        return None
    raw = path.read_bytes()
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        findings.add(SUMS, [f"expected JSON, got {shown(str(error))}"])
        return None
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        findings.add(SUMS, ["expected file names with their SHA-256"])
        return None
    # Written as it would be written: then no byte of it can be another, not even a blank.
    text = json_text(dict(sorted(data.items())))
    if text.encode("utf-8", "surrogatepass") != raw:
        findings.add(SUMS, ["changed: it is not written as wmscore writes it"])
    inside = {name: digest for name, digest in data.items() if _is_inside(name)}
    for name in data.keys() - inside.keys():
        findings.add(SUMS, [f"lists {shown(name)!r}, which is no file of the folder"])
    return inside


def _is_inside(name: str) -> bool:
    """Whether a name is that of a file in the folder, by the name alone."""
    parts = name.split("/")
    return "\0" not in name and "\\" not in name and not {"", ".", ".."} & {*parts}
