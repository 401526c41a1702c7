#!/usr/bin/python3
"""The daemon as its operator knows it: starting, refusing, reloading, dying, answering.

usage: system_test.py BUILD_DIR [NAME...]

Each test gets a running lab; one lab serves them all, in order. Root.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

import lab as labs
import steps
import suite
from steps import WEB, need


def flows(lab, message="traffic no longer flows"):
    need(steps.web_out(lab), message)


def test_version_and_check(lab):
    done = labs.run(lab.build / "app/posternd", "--version")
    need(re.fullmatch(r"posternd \d+\.\d+\.\d+\S*\n", done.stdout), done.stdout)
    done = labs.run(lab.build / "app/posternd", "-c", lab.conf, "--check", check=False)
    need(done.returncode == 0 and not done.stdout, done.stdout + done.stderr)


def test_bad_configuration_names_every_line(lab):
    bad = lab.dir / "bad.conf"
    bad.write_text('ports: ( { name = "wan0"; device = "net_null0"; addresses = [ "203.0.113.2/24" ]; colour = "red"; },\n'
                   '  { name = "wan0"; device = "net_null1"; addresses = [ "nonsense" ]; } );\n'
                   'rules: { ipv4 = "bad.v4"; };\n'
                   'nonsense = 1;\n')
    (lab.dir / "bad.v4").write_text("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j NOWHERE\n"
                                    "-A INPUT -m nomodule -j ACCEPT\nCOMMIT\n")
    done = labs.run(lab.build / "app/posternd", "-c", bad, "--check", check=False)
    need(done.returncode == 1, f"--check exits {done.returncode}: {done.stdout}{done.stderr}")
    for line in (1, 2, 4):
        need(f"{bad}:{line}:" in done.stdout, f"line {line} isn't named in:\n{done.stdout}")
    done = labs.run(lab.build / "app/posternd", "-c", bad, check=False)
    need(done.returncode == 2, f"a start with it exits {done.returncode}: {done.stderr}")
    need(f"{bad}:1:" in done.stderr, done.stderr)


def test_bad_rules_name_their_line(lab):
    conf = lab.dir / "bad-rules.conf"
    conf.write_text(lab.conf.read_text().replace("rules.v4", "bad-rules.v4"))
    (lab.dir / "bad-rules.v4").write_text(
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m nomodule -j ACCEPT\n-A INPUT -j NOWHERE\nCOMMIT\n")
    done = labs.run(lab.build / "app/posternd", "-c", conf, "--check", check=False)
    need(done.returncode == 1 and "bad-rules.v4:3:" in done.stdout, done.stdout + done.stderr)
    done = labs.run(lab.build / "app/posternd", "-c", conf, check=False)
    need(done.returncode == 2, f"exits {done.returncode}: {done.stderr}")


def test_status_json(lab):
    status = lab.status()
    for key, kind in (("version", str), ("uptime_seconds", (int, float)), ("generation", int),
                      ("ports", list), ("workers", list), ("conntrack", dict)):
        need(isinstance(status.get(key), kind), f"{key} in {status}")
    need([p["name"] for p in status["ports"]] == ["wan0", "lan0"], status["ports"])
    for port in status["ports"]:
        need(port["link"] == "up" and isinstance(port["drops"], dict), port)
        for key in ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes"):
            need(isinstance(port[key], int), port)
    need(len(status["workers"]) == lab.workers, status["workers"])
    for worker in status["workers"]:
        for key in ("cpu", "busy", "packets", "handoffs"):
            need(isinstance(worker.get(key), (int, float)), worker)
    need(status["conntrack"]["max"] > 0 and "entries" in status["conntrack"], status["conntrack"])


def test_conntrack_list(lab):
    flows(lab)
    closed = re.compile(
        r"^tcp +6 \d+ TIME_WAIT src=192\.168\.1\.10 dst=198\.51\.100\.7 sport=(\d+) dport=80 "
        r"src=198\.51\.100\.7 dst=203\.0\.113\.2 sport=80 dport=\d+ \[ASSURED\] mark=0 use=1$", re.MULTILINE)
    end = time.monotonic() + 10
    while True:
        done = lab.postern("conntrack", "-L", "-p", "tcp")
        need(done.returncode == 0, done.stderr)
        # The client is gone before the last segments of its connection are.
        if closed.search(done.stdout) or time.monotonic() > end:
            break
        time.sleep(0.1)
    need(closed.search(done.stdout), done.stdout)
    count = len(done.stdout.splitlines())
    need(f"conntrack v1.4.7 (conntrack-tools): {count} flow entries have been shown." in done.stderr,
         done.stderr)
    done = lab.postern("conntrack", "-C")
    need(int(done.stdout) >= count, done.stdout)


def test_links_answer_as_the_originals(lab):
    folder = lab.build / "libexec/postern"
    environment = {**os.environ, "POSTERN_SOCKET": f"{lab.dir}/postern.sock"}
    for name, arguments, wanted in (
            ("iptables", ["-S", "INPUT"], "-P INPUT DROP"),
            ("iptables-save", [], "# Completed on"),
            ("ip6tables", ["-S", "FORWARD"], "-P FORWARD DROP"),
            ("ip6tables-save", ["-t", "filter"], ":INPUT DROP"),
            ("conntrack", ["-C"], "")):
        done = lab.on("appliance", folder / name, *arguments, env=environment)
        need(done.returncode == 0 and wanted in done.stdout, f"{name}: {done.stdout}{done.stderr}")


def test_prometheus_scrapes(lab):
    text = lab.on("appliance", "curl", "-sS", "http://127.0.0.1:9797/metrics").stdout
    done = labs.run("promtool", "check", "metrics", input=text, check=False)
    need(done.returncode == 0 and not done.stderr.strip(), done.stdout + done.stderr)
    conf = lab.dir / "prometheus.yml"
    conf.write_text("global: {scrape_interval: 500ms, scrape_timeout: 400ms}\n"
                    "scrape_configs: [{job_name: postern, static_configs: "
                    "[{targets: ['127.0.0.1:9797']}]}]\n")
    child = lab.spawn("appliance", "prometheus", f"--config.file={conf}", "--log.level=error",
                      f"--storage.tsdb.path={lab.dir}/prometheus",
                      "--web.listen-address=127.0.0.1:9090", log="prometheus.log")
    try:
        query = "http://127.0.0.1:9090/api/v1/query?query=postern_conntrack_entries"
        for _ in range(40):
            done = lab.on("appliance", "curl", "-sS", "-m", 2, query)
            if done.returncode == 0 and json.loads(done.stdout)["data"]["result"]:
                return
            time.sleep(0.5)
        raise steps.Failed(f"prometheus has no sample: {done.stdout}{done.stderr}")
    finally:
        child.terminate()
        child.wait(20)


def test_a_bad_reload_changes_nothing(lab):
    before = lab.postern("iptables-save").stdout
    generation = lab.status()["generation"]
    good = (lab.dir / "rules.v4").read_text()
    (lab.dir / "rules.v4").write_text(good.replace("COMMIT", "-A INPUT -j NOWHERE\nCOMMIT"))
    try:
        done = lab.postern("reload")
        need(done.returncode != 0 and "rules.v4:" in done.stderr + done.stdout,
             f"{done.returncode} {done.stdout}{done.stderr}")
        said = lab.log().count("rules.v4:")
        lab.daemon.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20
        while lab.log().count("rules.v4:") == said:
            need(time.monotonic() < end, "SIGHUP has no answer in the log")
            time.sleep(0.05)
    finally:
        (lab.dir / "rules.v4").write_text(good)
    need(lab.status()["generation"] == generation, "another generation is in force")
    strip = lambda text: re.sub(r"(?m)^#.*$|\[\d+:\d+\]", "", text)
    need(strip(lab.postern("iptables-save").stdout) == strip(before), "the rules changed")
    flows(lab)


def test_reload_keeps_connections_and_counters(lab):
    flows(lab)
    rule = "-A FORWARD -i lan0 -o wan0 -j ACCEPT"

    def counter():
        saved = lab.postern("iptables-save", "-c").stdout
        line = re.search(r"^\[(\d+):\d+\] " + re.escape(rule), saved, re.MULTILINE)
        need(line, saved)
        return int(line.group(1))

    before, generation = counter(), lab.status()["generation"]
    need(before > 0, "the rule has counted nothing")
    download = subprocess.Popen(lab.command("lan1", "iperf3", "-c", WEB, "-t", "4", "-J"),
                                stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    text = (lab.dir / "rules.v4").read_text()
    (lab.dir / "rules.v4").write_text(
        text.replace("-A INPUT -i lo -j ACCEPT", "-A INPUT -i lo -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 7 -j DROP"))
    try:
        lab.daemon.send_signal(signal.SIGHUP)
        for _ in range(50):
            if lab.status()["generation"] > generation:
                break
            time.sleep(0.1)
        need(lab.status()["generation"] > generation, f"no new generation:\n{lab.log()[-2000:]}")
        need("--dport 7" in lab.postern("iptables", "-S", "INPUT").stdout, "the rule isn't there")
        need(counter() >= before, "the counter went back")
        report = json.loads(download.communicate(timeout=30)[0])
        need(report["end"]["sum_received"]["bytes"] > 10**6, "the connection stopped")
    finally:
        download.kill()
        (lab.dir / "rules.v4").write_text(text)
        lab.daemon.send_signal(signal.SIGHUP)
        time.sleep(0.5)


def test_restore_under_traffic(lab):
    """Rule sets follow one another while packets flow; none meets half a set."""
    ping = subprocess.Popen(lab.command("lan1", "ping", "-q", "-i", "0.01", "-c", "200", WEB),
                            stdout=subprocess.PIPE, text=True)
    text = (lab.dir / "rules.v4").read_text()
    for turn in range(10):
        rules = text
        if turn % 2:
            head, _, tail = text.rpartition("COMMIT")
            rules = f"{head}-A OUTPUT -p udp -m udp --dport {1000 + turn} -j DROP\nCOMMIT{tail}"
        done = lab.postern("iptables-restore", input=rules)
        need(done.returncode == 0, done.stdout + done.stderr)
    said = ping.communicate(timeout=30)[0]
    need(" 0% packet loss" in said, said)
    done = lab.postern("iptables-restore", input="*filter\n-A INPUT -j NOWHERE\nCOMMIT\n")
    need(done.returncode != 0, "a bad rule set was taken")
    lab.postern("iptables-restore", input=text, check=True)
    flows(lab)


def test_ten_thousand_rules_load_quickly(lab):
    lines = ["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
    lines += [f"-A FORWARD -s 10.{i >> 8}.{i & 255}.0/24 -p tcp -m tcp --dport {1 + i} -j DROP"
              for i in range(10000)]
    text = "\n".join(lines + ["COMMIT", ""])
    started = time.monotonic()
    done = lab.postern("iptables-restore", "-t", input=text)
    seconds = time.monotonic() - started
    need(done.returncode == 0, done.stderr)
    need(seconds < 2 * float(os.environ.get("SLOW", "1")), f"{seconds:.1f} s")


def test_kill_and_start_again(lab):
    status = lab.stop(signal.SIGKILL)
    need(status == -signal.SIGKILL, status)
    lab.start()
    flows(lab)


def test_terminate_and_start_again(lab):
    status = lab.stop(signal.SIGTERM)
    need(status == 0, f"exit {status}:\n{lab.log()[-2000:]}")
    lab.start()
    flows(lab)


if __name__ == "__main__":
    sys.exit(suite.run("system", lambda: labs.Lab(sys.argv[1]), [sys.modules[__name__]], sys.argv[2:]))
