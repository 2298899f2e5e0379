#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Print "passed failed skipped" of a meson testlog.json; a cmocka program counts as many times as it has cases."""
import json
import re
import sys

passed = failed = skipped = 0
try:
    log = open(sys.argv[1], encoding="utf-8").read().splitlines()
except OSError:
    log = []
for line in log:
    test = json.loads(line)
    output = (test.get("stdout") or "") + (test.get("stderr") or "")
    cases = {word: sum(map(int, re.findall(r"\[ +%s +\] (\d+) test" % word, output)))
             for word in ("PASSED", "FAILED", "SKIPPED")}
    if test["result"] in ("OK", "EXPECTEDFAIL"):
        passed += max(1, cases["PASSED"])
        skipped += cases["SKIPPED"]
    elif test["result"] == "SKIP":
        skipped += 1
    else:
        passed += cases["PASSED"]
        failed += max(1, cases["FAILED"])
if not log:
    failed = 1
print(passed, failed, skipped)
