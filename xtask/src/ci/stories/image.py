"""An image of one layer, in a folder as skopeo's `oci:` reads it."""

import hashlib
import json
import os
import sys

folder, layer = sys.argv[1:]
blobs = os.path.join(folder, "blobs/sha256")
os.makedirs(blobs)
KIND = "application/vnd.oci.image."


def put(content, kind):
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    digest = hashlib.sha256(content).hexdigest()
    with open(os.path.join(blobs, digest), "wb") as file:
        file.write(content)
    return {"mediaType": KIND + kind, "digest": "sha256:" + digest, "size": len(content)}


with open(layer, "rb") as file:
    layer = put(file.read(), "layer.v1.tar")
rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
config = put({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}, "config.v1+json")
kind = "manifest.v1+json"
manifest = {"schemaVersion": 2, "mediaType": KIND + kind, "config": config, "layers": [layer]}
image = put(manifest, kind) | {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
for name, content in [("index.json", {"schemaVersion": 2, "manifests": [image]}), ("oci-layout", {"imageLayoutVersion": "1.0.0"})]:
    with open(os.path.join(folder, name), "w") as file:
        json.dump(content, file)
