"""Metadata lives in setup.cfg; this file is for tools that still ask for it, and makes archives reproducible."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist


class ReproducibleSdist(sdist):
    """Makes the same archive of the same files where SOURCE_DATE_EPOCH is set; for wheels setuptools does."""

    def make_archive(self, base_name: str, format: str, *arguments: object, **options: object) -> str:  # noqa: A002
        """Make the archive; in order, without the builder's names, with one time stamp."""
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if epoch is None or format != "gztar":
            return super().make_archive(base_name, format, *arguments, **options)
        root = Path(base_name).name
        target = f"{base_name}.tar.gz"
        with (
            Path(target).open("wb") as file,
            gzip.GzipFile("", "wb", mtime=int(epoch), fileobj=file) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in sorted(Path(root).rglob("*")):
                archive.add(path, recursive=False, filter=lambda member: _plain(member, int(epoch)))
        return target


def _plain(member: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


setup(cmdclass={"sdist": ReproducibleSdist})
