#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs files of CPython's own test suite and prints one line per test case: "ID OUTCOME".

cpython.py MODULE...     e.g. test_socket test_asyncio.test_streams; each in a process of its own, three at a time: they
                         mostly wait
cpython.py ID...         single test cases, one after the other
OUTCOME: ok, skip, fail (an assertion), error (an exception). What each failure said goes to standard error.
"""
import concurrent.futures
import faulthandler
import multiprocessing
import os
import subprocess
import sys
import unittest


def say(name, outcome):
    """In one write: processes share the output."""
    os.write(1, f"{name.replace(' ', '')} {outcome}\n".encode())


class Lines(unittest.TestResult):
    """The worst of a case and its subtests counts, and is said once, when the case ends."""

    def startTest(self, test):
        super().startTest(test)
        self.outcome = "ok"

    def stopTest(self, test):
        super().stopTest(test)
        say(test.id(), self.outcome)

    def note(self, test, outcome, err):
        self.outcome = outcome
        print(f"--- {test.id()} {outcome}\n{self._exc_info_to_string(err, test)}", file=sys.stderr, flush=True)
        if isinstance(test, unittest.suite._ErrorHolder):  # a fixture of a class or module, never started
            say(test.id(), outcome)

    def addError(self, test, err):
        self.note(test, "error", err)

    def addFailure(self, test, err):
        self.note(test, "fail", err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note(test, "fail" if issubclass(err[0], test.failureException) else "error", err)

    def addSkip(self, test, reason):
        self.outcome = "skip"
        if not isinstance(test, unittest.TestCase):
            say(test.id(), "skip")


def run(names):
    faulthandler.enable()
    from test import support
    support.verbose = 0
    for name in names:
        unittest.defaultTestLoader.loadTestsFromName(name).run(Lines())
    for child in multiprocessing.active_children():
        child.kill()


def main():
    if sys.argv[1].startswith("test."):
        run(sys.argv[1:])
        return
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for name in sys.argv[1:]:
            pool.submit(subprocess.run, [sys.executable, __file__, "test." + name], check=False)


if __name__ == "__main__":
    main()
