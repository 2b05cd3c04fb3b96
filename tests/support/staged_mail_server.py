"""A mail server that tells the test how far a delivery has come, before it answers.

Each connection has a thread of its own, so that a test may hold one up without stopping the others.
"""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MESSAGE, ACCEPTED = "MESSAGE", "ACCEPTED"  # all of the message is here; it is in `received` as well
_REPLIES = {"DATA": "354 go on", "QUIT": "221 bye"}


@dataclass
class StagedMailServer:
    """on_stage: called with CONNECT, EHLO, MAIL, RCPT, DATA, MESSAGE, ACCEPTED or QUIT before each reply.

    received: the recipient of each message. texts: the messages.
    """

    port: int = 0
    on_stage: Callable[[str], object] = lambda _stage: None
    received: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


@contextmanager
def running() -> Iterator[StagedMailServer]:
    """Run a server on a port of 127.0.0.1 until the block ends."""
    mail_server = StagedMailServer()

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                _serve(self, mail_server)
            except OSError:  # the client was killed
                return

    with _Listener(("127.0.0.1", 0), Connection) as listener:
        mail_server.port = int(listener.server_address[1])
        thread = threading.Thread(target=listener.serve_forever, args=[0.05])
        thread.start()
        try:
            yield mail_server
        finally:
            listener.shutdown()
            thread.join()


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


def _serve(connection: socketserver.StreamRequestHandler, mail_server: StagedMailServer) -> None:
    def reply(stage: str, text: str) -> None:
        mail_server.on_stage(stage)
        connection.wfile.write(f"{text}\r\n".encode())

    reply("CONNECT", "220 mail.test")
    recipient = ""
    while line := connection.rfile.readline().decode():
        command = line.split()[0].upper()
        if command == "RCPT":
            recipient = line.partition("<")[2].partition(">")[0]
        reply(command, _REPLIES.get(command, "250 ok"))
        if command == "DATA":
            text = b"".join(iter(connection.rfile.readline, b".\r\n")).decode()
            mail_server.on_stage(MESSAGE)
            mail_server.texts.append(text)
            mail_server.received.append(recipient)
            reply(ACCEPTED, "250 accepted")
