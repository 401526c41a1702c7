"""The rule sets of the comparison: those of postern-bench."""

FILTER_HEAD = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lan0 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -i lan0 -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset
"""
FILTER_TAIL = """-A FORWARD -d 198.18.0.10/32 -i wan0 -p udp -m udp --dport 8080 -j ACCEPT
-A FORWARD -d 198.18.0.10/32 -i wan0 -p tcp -m tcp --dport 8080 -j ACCEPT
-A FORWARD -i lan0 -o wan0 -m conntrack --ctstate NEW -j ACCEPT
-A FORWARD -i lan0 -p icmp -j ACCEPT
COMMIT
"""
NAT = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o wan0 -j MASQUERADE
COMMIT
"""
USUAL = 10


def text(rules, nat):
    """`rules` in the filter table, at least 10; those beyond match no packet of the comparison."""
    lines = [NAT if nat else "", FILTER_HEAD]
    for i in range(USUAL, rules):
        protocol = "udp" if i % 2 else "tcp"
        lines.append(f"-A FORWARD -d 192.0.2.{i % 256}/32 -p {protocol} -m {protocol} "
                     f"--dport {1 + i % 65000} -j DROP\n")
    return "".join(lines) + FILTER_TAIL
