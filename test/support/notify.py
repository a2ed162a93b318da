"""A notification socket as systemd has one: binds argv[1], prints "<pid> <message>" for each datagram, lines joined by "|"."""
import socket
import struct
import sys

end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
end.bind(sys.argv[1])
print("bound", flush=True)
while True:
    message, control, _, _ = end.recvmsg(4096, socket.CMSG_SPACE(64))
    pid = next((struct.unpack("3i", data[:12])[0] for level, kind, data in control if kind == socket.SCM_CREDENTIALS), 0)
    print(pid, message.decode().replace("\n", "|"), flush=True)
