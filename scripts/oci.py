#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Make OCI images out of tar files, without a container engine and without root.

oci.py image OUT [--base LAYOUT] --layer TAR[:gzip|:zstd|:none]... [--config JSON] [--ref NAME:TAG] [--arch ARCH]
    OUT is an OCI layout; the base's layers come first; when it ends in .tar, an archive of it that also is a docker-archive (manifest.json), with NAME:TAG in it.
oci.py index OUT TAG LAYOUT...
    OUT is a layout whose TAG is an index over the images of the other layouts, one per platform.
oci.py tree OUT.tar DIR
    A tar of DIR, everything owned by root, names sorted, times fixed.

The same input gives the same bytes. JSON is the "config" object of an OCI image: Cmd, Entrypoint, Env, ...
"""
import argparse
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

EPOCH = "2024-01-01T00:00:00Z"
EPOCH_SECONDS = 1704067200
MEDIA = "application/vnd.oci.image."


class Layout:
    def __init__(self, path):
        self.path = path
        os.makedirs(path + "/blobs/sha256", exist_ok=True)
        self.write("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')

    def write(self, name, data):
        with open(os.path.join(self.path, name), "wb") as f:
            f.write(data)

    def blob(self, data, media, **more):
        digest = hashlib.sha256(data).hexdigest()
        self.write("blobs/sha256/" + digest, data)
        return {"mediaType": media, "digest": "sha256:" + digest, "size": len(data), **more}

    def blob_json(self, value, media, **more):
        return self.blob(json.dumps(value, separators=(",", ":"), sort_keys=True).encode(), media, **more)

    def index(self, manifests):
        value = {"schemaVersion": 2, "mediaType": MEDIA + "index.v1+json", "manifests": manifests}
        self.write("index.json", json.dumps(value).encode())


def compress(data, how):
    if how == "gzip":
        return gzip.compress(data, 1, mtime=0), "+gzip"
    if how == "zstd":
        return subprocess.run(["zstd", "-q", "-3", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout, "+zstd"
    return data, ""


def take_base(layout, base):
    """Layers and diff ids of another layout's image, its blobs copied."""
    def read(descriptor):
        with open(f"{base}/blobs/sha256/{descriptor['digest'][7:]}", encoding="utf-8") as f:
            return json.load(f)

    with open(base + "/index.json", encoding="utf-8") as f:
        manifest = read(json.load(f)["manifests"][0])
    for layer in manifest["layers"]:
        name = "/blobs/sha256/" + layer["digest"][7:]
        shutil.copyfile(base + name, layout.path + name)
    return manifest["layers"], read(manifest["config"])["rootfs"]["diff_ids"]


def make_image(args):
    out = args.out
    directory = tempfile.mkdtemp(dir=os.path.dirname(os.path.abspath(out))) if out.endswith(".tar") else out
    layout = Layout(directory)
    layers, diff_ids = take_base(layout, args.base) if args.base else ([], [])
    for spec in args.layer:
        path, _, how = spec.partition(":")
        with open(path, "rb") as f:
            data = f.read()
        diff_ids.append("sha256:" + hashlib.sha256(data).hexdigest())
        packed, suffix = compress(data, how or "gzip")
        layers.append(layout.blob(packed, MEDIA + "layer.v1.tar" + suffix))
    config = {"created": EPOCH, "architecture": args.arch, "os": "linux", "config": json.loads(args.config),
              "rootfs": {"type": "layers", "diff_ids": diff_ids},
              "history": [{"created": EPOCH, "created_by": "oci.py"} for _ in diff_ids]}
    config = layout.blob_json(config, MEDIA + "config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": MEDIA + "manifest.v1+json", "config": config, "layers": layers}
    tag = args.ref.rpartition(":")[2]
    manifest = layout.blob_json(manifest, MEDIA + "manifest.v1+json", platform={"architecture": args.arch, "os": "linux"},
                                annotations={"org.opencontainers.image.ref.name": tag})
    layout.index([manifest])
    if directory != out:
        def blob_path(descriptor):
            return "blobs/sha256/" + descriptor["digest"][7:]
        layout.write("manifest.json", json.dumps([{"Config": blob_path(config), "RepoTags": [args.ref],
                                                   "Layers": [blob_path(x) for x in layers]}]).encode())
        make_tree(out, directory)
        shutil.rmtree(directory)


def make_index(args):
    layout = Layout(args.out)
    found = []
    for source in args.layouts:
        shutil.copytree(source + "/blobs", args.out + "/blobs", dirs_exist_ok=True)
        with open(source + "/index.json", encoding="utf-8") as f:
            manifest = json.load(f)["manifests"][0]
        manifest.pop("annotations", None)
        found.append(manifest)
    value = {"schemaVersion": 2, "mediaType": MEDIA + "index.v1+json", "manifests": found}
    layout.index([layout.blob_json(value, MEDIA + "index.v1+json",
                                   annotations={"org.opencontainers.image.ref.name": args.tag})])


def make_tree(out, directory):
    def entry(info):
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        info.mtime = EPOCH_SECONDS
        return info

    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(os.listdir(directory)):
            tar.add(os.path.join(directory, name), name, filter=entry)
    with open(out, "wb") as f:
        f.write(data.getvalue())


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    image = commands.add_parser("image")
    image.add_argument("out")
    image.add_argument("--base")
    image.add_argument("--layer", action="append", default=[])
    image.add_argument("--config", default="{}")
    image.add_argument("--ref", default="latest")
    image.add_argument("--arch", default="amd64")
    image.set_defaults(run=make_image)
    index = commands.add_parser("index")
    index.add_argument("out")
    index.add_argument("tag")
    index.add_argument("layouts", nargs="+")
    index.set_defaults(run=make_index)
    tree = commands.add_parser("tree")
    tree.add_argument("out")
    tree.add_argument("directory")
    tree.set_defaults(run=lambda a: make_tree(a.out, a.directory))
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    sys.exit(main())
