#!/usr/bin/python3
"""The demo's steps with the programs of a build directory; see scripts/demo."""

import argparse
import os
import sys

import lab as labs
import steps


def report(number, name, expected, passed, happened):
    print(f"{'PASS' if passed else 'FAIL'} {number:2} {name}: {expected}")
    for line in happened.splitlines():
        print(f"        {line}")
    sys.stdout.flush()


def how_to_play(lab):
    print(f"""
It goes on running. To enter it:
    ip netns exec {lab.name('lan1')} bash        a host in the LAN; also {lab.name('lan2')}, {lab.name('wan')}
    ip netns exec {lab.name('appliance')} bash   the appliance; there
        export POSTERN_SOCKET={lab.dir}/postern.sock PATH={lab.build}/libexec/postern:{lab.build}/app:$PATH
        iptables -L -n -v; conntrack -L; postern status
To stop it:
    {lab.stop_script()}""")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("needs root for network namespaces", file=sys.stderr)
        return 77
    lab = labs.Lab(options.build, options.workers)
    try:
        lab.make_network()
        steps.start_everything(lab)
        failed = steps.run_steps(lab, report)
        total = len(steps.STEPS)
        print(f"demo: {total - failed} passed, {failed} failed ({options.workers} worker"
              f"{'s' if options.workers > 1 else ''})")
        if failed:
            print("posternd said:", *lab.log().splitlines()[-20:], sep="\n    ")
        if options.keep:
            how_to_play(lab)
            return 1 if failed else 0
        status = lab.stop()
        if status != 0:
            print(f"posternd ended with {status}")
        return 1 if failed or status else 0
    except labs.LabError as error:
        print(f"FAIL {error}")
        return 1
    finally:
        if not options.keep:
            lab.close()


if __name__ == "__main__":
    sys.exit(main())
