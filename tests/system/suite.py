"""Runs tests, functions named test_*, on one lab, in the order in which they stand."""

import os
import time
import traceback

import lab as labs
import steps


def tests_of(modules):
    return [(name, test) for module in modules for name, test in vars(module).items()
            if name.startswith("test_")]


def run(title, make_lab, modules, wanted, prepare=lambda lab: None):
    """The exit status. `wanted`: parts of names, empty for all; `prepare` gets the running lab. A daemon
    that a test has ended is started again for the next one."""
    if os.geteuid() != 0:
        print("skipped: needs root for network namespaces")
        return 77
    failed = passed = 0
    with make_lab() as lab:
        steps.start_everything(lab)
        prepare(lab)
        for name, test in tests_of(modules):
            if wanted and not any(word in name for word in wanted):
                continue
            started = time.monotonic()
            try:
                test(lab)
                passed += 1
                print(f"PASS {name} ({time.monotonic() - started:.1f} s)", flush=True)
            except Exception as error:  # whatever it is, the next test still runs
                failed += 1
                detail = "" if isinstance(error, (steps.Failed, labs.LabError)) else traceback.format_exc()
                print(f"FAIL {name}: {error}\n{detail}", flush=True)
                if lab.daemon.poll() is not None:
                    lab.start()
        if failed:
            print("posternd said:", *lab.log().splitlines()[-30:], sep="\n    ")
    print(f"{title}: {passed} passed, {failed} failed")
    return 1 if failed else 0
