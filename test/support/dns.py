"""Asks a name server for an address: dns.py SERVER NAME udp|tcp. Prints the first A record, or why there is none."""
import socket
import struct
import sys

server, name, how = sys.argv[1:4]
address = socket.getaddrinfo(server, 53, type=socket.SOCK_DGRAM)[0]
question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + struct.pack("!HH", 1, 1)
query = struct.pack("!6H", 4711, 0x0100, 1, 0, 0, 0) + question
sock = socket.socket(address[0], socket.SOCK_DGRAM if how == "udp" else socket.SOCK_STREAM)
sock.settimeout(3)
try:
    sock.connect(address[4])
    if how == "udp":
        sock.send(query)
        answer = sock.recv(4096)
    else:
        sock.sendall(struct.pack("!H", len(query)) + query)
        length = sock.recv(2, socket.MSG_WAITALL)
        if not length:
            raise EOFError
        answer = sock.recv(struct.unpack("!H", length)[0], socket.MSG_WAITALL)
    rest = answer[12 + len(question):]
    print(socket.inet_ntoa(rest[12:16]) if len(rest) >= 16 else f"code {answer[3] & 15}")
except EOFError:
    print("closed")
except OSError as error:
    print(type(error).__name__)
