"""Check the members of an archive before TorchServe unpacks it: each whole, safe to unpack, and nothing besides."""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from scripts.archives.build_command import command_for
from scripts.errors import CommandError

# An archive of DenseNet-121 unpacks to 71 MB, and weights hardly compress. Past 4 GB zip files have another format.
MOST_UNPACKED_BYTES = 4_000_000_000
MOST_TIMES_LARGER = 50
CHUNK_BYTES = 1 << 20
# APPNOTE.TXT of PKWARE, 4.3.7 and 4.3.9: a member's header and the sizes that may follow it.
LOCAL_HEADER = struct.Struct("<L2xHH4xLLLHH")
LOCAL_SIGNATURE, SIZES_SIGNATURE = 0x04034B50, 0x08074B50
SIZES_FOLLOW, UTF8_NAME = 1 << 3, 1 << 11


def check_members(archive: Path, mar: zipfile.ZipFile) -> None:
    """Raise CommandError if a member would be unpacked outside the archive's folder, or all of them into too much."""
    members = mar.infolist()
    for member in members:
        # orig_filename: ZipFile cuts a name at a zero byte, TorchServe does not.
        if leaves_its_folder(member.orig_filename) or stat.S_ISLNK(member.external_attr >> 16):
            raise _distrusted(archive, f"a file that would be unpacked outside its folder ({member.orig_filename!r})")
    names = Counter(member.orig_filename for member in members)
    if twice := [name for name, count in names.items() if count > 1]:
        raise _distrusted(archive, f"two files of one name ({twice[0]!r})")
    unpacked = sum(member.file_size for member in members)
    if unpacked > min(MOST_UNPACKED_BYTES, MOST_TIMES_LARGER * archive.stat().st_size):
        raise _distrusted(archive, f"{unpacked // 10**6} MB, packed into {archive.stat().st_size // 10**6} MB")


def check_contents(archive: Path, mar: zipfile.ZipFile) -> None:
    """Prove that an archive is its members and nothing else, each whole, from the first byte to the list at the end.

    Python reads the list at the end of a zip file, TorchServe the header before each member. A file that only a header
    names would be unpacked without having been checked. Raises CommandError, or zipfile.BadZipFile for a damaged file.
    """
    with archive.open("rb") as file:
        position = 0
        for member in sorted(mar.infolist(), key=lambda member: member.header_offset):
            if member.header_offset != position:
                raise _distrusted(archive, f"bytes that belong to no file, before {member.orig_filename!r}")
            position = _check_member(archive, file, member)
        if position != mar.start_dir:
            raise _distrusted(archive, "bytes that belong to no file, at its end")


def _check_member(archive: Path, file: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Read one member, header and content, and return the position after it."""
    file.seek(member.header_offset)
    header = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    signature, flags, method, crc, packed, unpacked, name_length, extra_length = header
    name = file.read(name_length)
    encoded = member.orig_filename.encode("utf-8" if flags & UTF8_NAME else "cp437")
    sizes_follow = bool(flags & SIZES_FOLLOW)
    own = (crc, packed, unpacked)
    if (
        signature != LOCAL_SIGNATURE
        or name != encoded
        or (method, flags) != (member.compress_type, member.flag_bits)
        or (own != (member.CRC, member.compress_size, member.file_size) and not sizes_follow)
    ):
        raise _distrusted(archive, f"a file whose header is not the one that is listed ({member.orig_filename!r})")
    file.seek(extra_length, os.SEEK_CUR)
    _check_content(file, member)
    if sizes_follow:
        _skip_sizes(file, member)
    return file.tell()


def _check_content(file: BinaryIO, member: zipfile.ZipInfo) -> None:
    """Unpack a member's bytes without keeping them. Raises zipfile.BadZipFile."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{member.orig_filename} is packed in a way that TorchServe does not read")
    stream = None if member.compress_type == zipfile.ZIP_STORED else zlib.decompressobj(-zlib.MAX_WBITS)
    crc = size = 0
    left = member.compress_size
    while left:
        packed = file.read(min(left, CHUNK_BYTES))
        if not packed:
            break
        left -= len(packed)
        while packed:
            content = stream.decompress(packed, CHUNK_BYTES) if stream else packed
            packed = stream.unconsumed_tail if stream else b""
            crc, size = zlib.crc32(content, crc), size + len(content)
            if size > member.file_size:
                raise zipfile.BadZipFile(f"{member.orig_filename} is longer than it says")
    ended = stream is None or (stream.eof and not stream.unused_data)
    if left or not ended or (crc, size) != (member.CRC, member.file_size):
        raise zipfile.BadZipFile(f"{member.orig_filename} is damaged")


def _skip_sizes(file: BinaryIO, member: zipfile.ZipInfo) -> None:
    """Skip the sizes after a member, which a writer puts there if it did not know them before; they have four forms."""
    behind = file.tell()
    record = file.read(4 + 4 + 8 + 8)
    for prefix in (struct.pack("<L", SIZES_SIGNATURE), b""):
        for form in ("<LLL", "<LQQ"):
            expected = prefix + struct.pack(form, member.CRC, member.compress_size, member.file_size)
            if record.startswith(expected):
                file.seek(behind + len(expected))
                return
    raise zipfile.BadZipFile(f"{member.orig_filename} has no sizes behind it")


def _distrusted(archive: Path, what: str) -> CommandError:
    return CommandError(f"{archive} holds {what}: do not trust it, build it again with {command_for(archive)}.")


def leaves_its_folder(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or re.search(r"[\\\0]|^[A-Za-z]:", name) is not None
