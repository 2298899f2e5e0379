# shellcheck shell=bash disable=SC2034
# Python as Debian packages it, with its own test suite.
packages="python3 libpython3.11-testsuite netbase"
