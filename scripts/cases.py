#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fills the last column of docs/cases.md: the tests that name each case.

cases.py            write it
cases.py --check    say what is not as it would be written, and which case no test names; exit status 1 then

A test names a case in its title (bats), in the name of a case or in a comment (C).
"""
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
TABLE = TOP / "docs/cases.md"
ROW = re.compile(r"^\| ([A-Z]\d\d) \| (.*?) \| (.*) \|$")
CASE = re.compile(r"\b[A-Z]\d\d\b")
PLACES = ("tests/e2e/*.bats", "tests/e2e/kmod/*.c", "tests/unit/**/*.c", "tests/unit/**/*.py", "tests/unit/**/*.sh", "tests/fuzz/*.c")


def tests():
    """case -> files, sorted"""
    found = {}
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *(":(glob)" + p for p in PLACES)],
                            cwd=TOP, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    for name in sorted(listed):
        text = (TOP / name).read_text(encoding="utf-8")
        if name.endswith(".bats"):
            text = "\n".join(re.findall(r'^@test "(.*)" \{', text, re.M))
        for case in set(CASE.findall(text)):
            found.setdefault(case, []).append(name.removeprefix("tests/"))
    return found


def main():
    found, lines, missing = tests(), [], []
    old = TABLE.read_text(encoding="utf-8")
    for line in old.splitlines():
        row = ROW.match(line)
        if row:
            files = found.get(row[1], [])
            if not files:
                missing.append(row[1])
            line = f"| {row[1]} | {row[2]} | {', '.join(files) or 'none'} |"
        lines.append(line)
    new = "\n".join(lines) + "\n"
    for case in missing:
        print(f"docs/cases.md: no test names {case}")
    if "--check" not in sys.argv[1:]:
        TABLE.write_text(new, encoding="utf-8")
    elif new != old:
        print("docs/cases.md is not up to date: run scripts/cases.py")
    return 1 if missing or ("--check" in sys.argv[1:] and new != old) else 0


if __name__ == "__main__":
    sys.exit(main())
