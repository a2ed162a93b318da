"""A tap and the guest behind it: `tap.py NAME [MAC]` makes the tap, switches it on, and obeys a line at a time.

send HEX COUNT   writes that frame COUNT times, answers "sent"
seen             answers every frame that the guest was sent so far, hex, separated by blanks
End of input: the tap goes away.
"""
import fcntl, os, socket, struct, sys, threading

name = sys.argv[1]
fd = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1002))  # TUNSETIFF, IFF_TAP | IFF_NO_PI
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if len(sys.argv) > 2:
    mac = bytes.fromhex(sys.argv[2].replace(":", ""))
    fcntl.ioctl(control, 0x8924, struct.pack("16sH6s8x", name.encode(), 1, mac))  # SIOCSIFHWADDR
flags = struct.unpack("16sH22x", fcntl.ioctl(control, 0x8913, struct.pack("16s24x", name.encode())))[1]
fcntl.ioctl(control, 0x8914, struct.pack("16sH22x", name.encode(), flags | 1))
frames = []


def listen():
    while True:
        frames.append(os.read(fd, 65536))


threading.Thread(target=listen, daemon=True).start()
print("up", flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "send":
        frame = bytes.fromhex(words[1])
        for _ in range(int(words[2])):
            os.write(fd, frame)
        print("sent", flush=True)
    elif words[0] == "seen":
        print(" ".join(frame.hex() for frame in list(frames)), flush=True)
