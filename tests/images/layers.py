#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Layers that no tool would make, and layers that hold everything a layer can hold.

layers.py list          names of the hostile ones, each with what the complaint must say
layers.py make NAME OUT one of them, or "lower" and "upper" (the faithful pair)
"""
import gzip
import io
import sys
import tarfile

REG, DIR, LNK, SYM, CHR, FIFO = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE,
                                 tarfile.FIFOTYPE)


def entry(name, kind=REG, data=b"", link="", xattr=None, **more):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    info.mode = 0o755 if kind == DIR else 0o644
    for key, value in more.items():
        setattr(info, key, value)
    info.pax_headers = {f"SCHILY.xattr.{k}": v for k, v in (xattr or {}).items()}
    return info, data


def tar(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape") as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def gnu_sparse(name, size):
    """One old GNU sparse entry that says it is `size` bytes long and holds none."""
    info = tarfile.TarInfo(name)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:410] = b"%011o\0" % size + b"%011o\0" % 0
    header[483:495] = bytes([0x80]) + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


GOOD = [entry("etc/", DIR), entry("etc/good", data=b"good\n")]

HOSTILE = {
    "dotdot": (lambda: tar(GOOD + [entry("../../outside", data=b"x")]), "leads out of the image"),
    "inner-dotdot": (lambda: tar(GOOD + [entry("etc/../../outside", data=b"x")]), "leads out of the image"),
    "absolute-dotdot": (lambda: tar(GOOD + [entry("/../outside", data=b"x")]), "leads out of the image"),
    "absolute-hard-link": (lambda: tar(GOOD + [entry("shadow", LNK, link="/etc/shadow")]), "hard link out of the image"),
    "hard-link-out": (lambda: tar(GOOD + [entry("shadow", LNK, link="../../etc/shadow")]), "hard link out of the image"),
    "hard-link-to-nothing": (lambda: tar(GOOD + [entry("a", LNK, link="b")]), "no file of the image"),
    "through-a-link": (lambda: tar(GOOD + [entry("x", SYM, link="../../.."), entry("x/outside", data=b"x")]),
                       "leads out of the image"),
    "link-circle": (lambda: tar([entry("a", SYM, link="b"), entry("b", SYM, link="a"), entry("a/x", data=b"x")]),
                    "too many symbolic links"),
    "below-a-file": (lambda: tar([entry("a", data=b"1"), entry("a/b", data=b"2")]), "not a directory"),
    "root-is-a-link": (lambda: tar([entry(".", SYM, link="/etc")]), "replaces the root directory"),
    "whiteout-of-dotdot": (lambda: tar([entry("a/.wh...")]), "no valid whiteout"),
    "deep": (lambda: tar([entry("d/" * 300, DIR)]), "too deep"),
    "long-name": (lambda: tar([entry("n" * 300, data=b"x")]), "longer than 255"),
    "long-path": (lambda: tar([entry("/".join(["n" * 200] * 30), data=b"x")]), "usable name|longer than 4095|too deep"),
    "entries": (lambda: gzip.compress(tar([entry(f"f{i}") for i in range(3000)])), "more than 2000 entries"),
    "sparse": (lambda: gnu_sparse("big", 1 << 50), "larger than"),
    "zeros": (lambda: gzip.compress(tar(GOOD + [entry("zeros", data=bytes(80 << 20))]), 9), "A3S_IMAGE_MAX_LAYER"),
    "noise": (lambda: gzip.compress(bytes(range(256)) * 64), "rchive|format"),
    "cut": (lambda: tar(GOOD + [entry("f", data=bytes(100000))])[:60000], "runcated"),
    "cut-gzip": (lambda: gzip.compress(tar(GOOD + [entry("f", data=bytes(range(256)) * 400)]))[:-20], "runcated"),
}

LONG = "long-" + "x" * 200
FAITHFUL = {
    "lower": lambda: tar([
        entry("keep/", DIR, mode=0o2751, uid=70000, gid=4000000000, mtime=1700000000),
        entry("keep/su", data=b"su\n", mode=0o6755, uid=65536, gid=65537, mtime=1600000001),
        entry("keep/cap", data=b"cap\n", xattr={"security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00" + "\x00" * 12, "user.note": "hé"}),
        entry("keep/one", data=b"one\n"),
        entry("keep/two", LNK, link="keep/one"),
        entry("keep/null", CHR, devmajor=1, devminor=3, mode=0o666),
        entry("keep/pipe", FIFO, mode=0o600),
        entry("keep/absolute", SYM, link="/keep/one"),
        entry(f"keep/{LONG}/{LONG}", data=b"long\n"),
        entry("keep/unicode-é€", data=b"u\n"),
        entry("keep/back\\x2dslash", data=b"b\n"),
        entry("keep/sticky/", DIR, mode=0o1777),
        entry("gone/", DIR), entry("gone/a", data=b"a\n"),
        entry("opaque/", DIR), entry("opaque/old", data=b"old\n"), entry("opaque/sub/", DIR), entry("opaque/sub/old", data=b"o\n"),
        entry("single/", DIR), entry("single/a", data=b"a\n"), entry("single/b", data=b"b\n"),
        entry("renewed/", DIR), entry("renewed/old", data=b"old\n"),
        entry("file-then-dir", data=b"file\n"),
        entry("dir-then-file/", DIR), entry("dir-then-file/x", data=b"x\n"),
    ]),
    "upper": lambda: tar([
        entry("keep/new", data=b"new\n"),
        entry("linked", LNK, link="keep/su"),
        entry(".wh.gone"),
        entry("opaque/new", data=b"new\n"), entry("opaque/.wh..wh..opq"),
        entry("single/.wh.a"),
        entry(".wh.renewed"), entry("renewed/", DIR, mode=0o700), entry("renewed/new", data=b"new\n"),
        entry("file-then-dir/", DIR), entry("file-then-dir/y", data=b"y\n"),
        entry("dir-then-file", data=b"now a file\n"),
    ]),
}


def main():
    if sys.argv[1] == "list":
        for name, (_, says) in HOSTILE.items():
            print(name, says, sep="\t")
        return
    name, out = sys.argv[2:]
    data = FAITHFUL[name]() if name in FAITHFUL else HOSTILE[name][0]()
    with open(out, "wb") as f:
        f.write(data)


main()
