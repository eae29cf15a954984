# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Servers of a lab: they say what they are told, or take it in."""
import selectors
import socket
import threading

IP_PKTINFO, IPV6_FREEBIND, TCP_FASTOPEN = 8, 78, 23


class Echo:
    """Echo servers, one thread."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.sockets = []
        threading.Thread(target=self.serve, daemon=True).start()

    def add(self, sock, ready):
        self.sockets.append(sock)
        self.selector.register(sock, selectors.EVENT_READ, ready)

    def add_tcp(self, make, port, address="::", protocol=0):
        """make: socket.socket, or one that makes it in another namespace."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        s = make(family, socket.SOCK_STREAM, protocol)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.bind((address, port))
        s.listen(64)
        if not protocol:
            s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
        self.add(s, self.accept)

    def add_udp(self, make, port, protocol=0):
        v4 = make(socket.AF_INET, socket.SOCK_DGRAM, protocol)
        v4.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        v4.bind(("0.0.0.0", port))
        v6 = make(socket.AF_INET6, socket.SOCK_DGRAM, protocol)
        v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        v6.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        v6.bind(("::", port))
        self.add(v4, self.datagram)
        self.add(v6, self.datagram)

    def serve(self):
        while True:
            try:
                for key, _ in self.selector.select(0.2):
                    key.data(key.fileobj)
            except (OSError, RuntimeError, ValueError, KeyError):
                if not self.sockets:
                    return

    def accept(self, listener):
        connection, _ = listener.accept()
        self.add(connection, self.stream)

    def stream(self, connection):
        try:
            data = connection.recv(65536)
            if data:
                connection.sendall(data)
                return
        except OSError:
            pass
        self.selector.unregister(connection)
        self.sockets.remove(connection)
        connection.close()

    @staticmethod
    def datagram(sock):
        """The answer comes from the address that was asked."""
        data, ancillary, _, peer = sock.recvmsg(65536, 256)
        if sock.family == socket.AF_INET6:
            sock.sendmsg([data], ancillary, 0, peer)
            return
        for _, _, value in ancillary:
            source = bytes(4) + value[8:12] + bytes(4)  # ipi_addr as ipi_spec_dst
            sock.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, peer)

    def close(self):
        sockets, self.sockets = self.sockets, []
        for s in sockets:
            s.close()


class Sink:
    """Reads TCP connections to their end, then closes them; counts the bytes."""

    def __init__(self, make, port):
        self.listener = make(socket.AF_INET6, socket.SOCK_STREAM, 0)
        self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.bind(("::", port))
        self.listener.listen(16)
        self.bytes = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.read, args=(connection,), daemon=True).start()

    def read(self, connection):
        with connection:
            try:
                while data := connection.recv(262144):
                    self.bytes += len(data)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
