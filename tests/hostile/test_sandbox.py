"""A sandbox that is stopped while others come."""

from __future__ import annotations

import gc
import socket
import threading

import pytest

from telnyx_oauth.messages import Response
from telnyx_oauth.sandbox.faults import Delivery
from telnyx_oauth.sandbox.server import Server


@pytest.mark.blocks_loop
def test_those_who_come_as_it_stops_leave_nothing_behind(caplog):
    stands_still, goes_on = threading.Event(), threading.Event()

    def serve(_request):
        stands_still.set()
        goes_on.wait(10)
        return Delivery(Response(200))

    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    listener.setblocking(False)
    address = listener.getsockname()
    server = Server(serve, listener)
    comers = [socket.create_connection(address)]
    comers[0].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert stands_still.wait(10)
    comers += [socket.create_connection(address) for _ in range(20)]
    server.stop()
    goes_on.set()  # and now it finds the twenty and the end at once
    server.join()
    for comer in comers:
        comer.close()
    gc.collect()  # a socket left open would be told of here
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
