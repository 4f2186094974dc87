"""What is in a file, read whole: only from regular files, and no more than its kind ever needs. Stands on nothing; all rooms read through here."""

import errno
import os
import stat
from pathlib import Path

from resnet_lab.text import size


def content_of(path: Path, *, at_most: int | None = None) -> bytes:
    """The bytes of a file; `at_most`: how many it may have. Raises OSError, also for a pipe or a device, which might never end."""
    check_regular(path)
    with path.open("rb") as stream:
        content = stream.read() if at_most is None else stream.read(at_most + 1)
    if at_most is not None and len(content) > at_most:
        raise OSError(errno.EFBIG, f"it is larger than the {size(at_most)} that such a file may have", str(path))
    return content


def check_regular(path: Path) -> None:
    """Raise OSError for a path that is no regular file: a pipe is waited for, a device never ends."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
