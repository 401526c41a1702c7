"""The captures that every contender gets: 64-byte UDP of known connections, one file a side."""

import struct

WAN_MAC, LAN_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
WAN_PEER, LAN_PEER = bytes.fromhex("020000000011"), bytes.fromhex("020000000012")
WAN_ADDRESS = 0xCB007102  # 203.0.113.2
SERVERS = 1024
FRAME_BYTES = 60  # without FCS
UDP_BYTES = FRAME_BYTES - 14 - 20

PCAP_HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
RECORD_HEAD = struct.pack("<IIII", 1, 0, FRAME_BYTES, FRAME_BYTES)
FRAME = struct.Struct("!14sBBHHHBBHIIHHHH18x")
# Sums of what is the same in every frame: of the IP header, and of pseudo and UDP header.
IP_SUM = 0x4500 + 20 + UDP_BYTES + 0x4000 + (64 << 8 | 17)
UDP_SUM = 17 + 2 * UDP_BYTES


def folded(total):
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def udp_frame(macs, source, destination, source_port, destination_port):
    """60 bytes, as a 64-byte frame without its FCS. `macs`: destination and source."""
    addresses = ((source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF))
    udp_sum = folded(UDP_SUM + addresses + source_port + destination_port) or 0xFFFF
    return FRAME.pack(macs + b"\x08\x00", 0x45, 0, 20 + UDP_BYTES, 0, 0x4000, 64, 17,
                      folded(IP_SUM + addresses), source, destination, source_port,
                      destination_port, UDP_BYTES, udp_sum)


def flow(index):
    """Client, server and the client's port of a connection; after MASQUERADE, too, every one has
    its own tuple if the port is kept."""
    client = 0xC6120100 + (index * 2654435761 & 0xFFFFFFFF) // (1 << 20)
    server = 0xC6130100 + index % SERVERS
    return client, server, 2048 + index // SERVERS % 60000


def write(folder, flows, nat):
    """lan.pcap and wan.pcap in `folder`."""
    lan_macs, wan_macs = LAN_MAC + LAN_PEER, WAN_MAC + WAN_PEER
    with open(folder / "lan.pcap", "wb") as lan, open(folder / "wan.pcap", "wb") as wan:
        lan.write(PCAP_HEAD)
        wan.write(PCAP_HEAD)
        # A fixed stride through all flows: the answers don't come in the order of the questions.
        stride = 7919 if flows % 7919 else 7927
        for step in range(flows):
            client, server, port = flow(step)
            lan.write(RECORD_HEAD + udp_frame(lan_macs, client, server, port, 53))
            client, server, port = flow((step * stride + 1) % flows)
            wan.write(RECORD_HEAD + udp_frame(wan_macs, server, WAN_ADDRESS if nat else client, 53,
                                              port))
