"""The bytes of a request as they come in, and whether a thread can answer it without waiting for the client.

What is malformed is for gunicorn's parser to judge; here it only must not wait for more than it needs.
"""

import re

MAX_BUFFERED_BYTES = 256 * 1024  # more than any request that is answered with 2xx

_HEAD_END = b"\r\n\r\n"
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")


class Incoming:
    """One request on its way. Every byte is looked at once, however small the pieces."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.wants_continue = False
        self._looked_at = 0
        self._body = 0  # where the body begins, 0 while the head has not ended
        self._wanted = 0  # bytes in all, as far as is known
        self._chunked = False

    def add(self, data: bytes) -> bool:
        """Add what came and return whether that is all that a thread needs."""
        self.received += data
        if not self._body and not self._find_head():
            return len(self.received) > MAX_BUFFERED_BYTES
        while self._chunked and len(self.received) >= self._wanted:
            if not self._next_chunk():
                break
        if len(self.received) > MAX_BUFFERED_BYTES:
            self._close_after()
            return True
        return not self._chunked and len(self.received) >= self._wanted

    def _find_head(self) -> bool:
        end = self.received.find(_HEAD_END, max(0, self._looked_at - len(_HEAD_END)))
        self._looked_at = len(self.received)
        if end < 0:
            return False
        head = bytes(self.received[: end + 2])
        self.wants_continue = bool(_EXPECT.search(head))
        if self.wants_continue:  # whoever holds this says so, and gunicorn need not say it again
            self.received[: len(head)] = head = _EXPECT.sub(b"", head)
        self._body = self._wanted = len(head) + 2
        self._chunked = bool(_CHUNKED.search(head))
        if (length := _LENGTH.search(head)) and not self._chunked:
            self._wanted += int(length[1]) if len(length[1]) < 18 else 2 * MAX_BUFFERED_BYTES
        return True

    def _next_chunk(self) -> bool:
        """Go on to the next chunk; False when its size, or the end of the last one, is not here yet."""
        line_end = self.received.find(b"\r\n", self._wanted)
        if line_end < 0:
            return False
        size = bytes(self.received[self._wanted : line_end]).partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(size):
            self._chunked = False  # malformed: that is all the parser needs
        elif int(size, 16) > 0:
            self._wanted = line_end + 2 + int(size, 16) + 2
        elif self.received.find(_HEAD_END, line_end) >= 0:
            self._chunked = False  # the last chunk, and the end of its trailer
        else:
            return False
        return True

    def _close_after(self) -> None:
        """Have the connection closed after the refusal, instead of the rest read by a thread."""
        first_line = self.received.find(b"\r\n")
        self.received[first_line:first_line] = b"\r\nConnection: close"
