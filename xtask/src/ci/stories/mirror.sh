# docs/use/mirror.md
noise 3000000 > "$LOGS/layer"
python3 "$STORIES/image.py" image "$LOGS/layer"
cat > config.yml << 'END'
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: registry}}
http: {addr: '127.0.0.1:5001'}
END
begin 'listening on' <<< 'docker-registry serve config.yml'
skopeo --insecure-policy copy --preserve-digests --dest-tls-verify=false oci:image:latest docker://127.0.0.1:5001/library/alpine:latest
layer=$(sha256sum < "$LOGS/layer" | cut -d ' ' -f 1)
swap '--oci-origin docker.io' '--oci-origin docker.io=http://127.0.0.1:5001'
swap '--oci-origin ghcr.io' '--oci-origin ghcr.io=http://127.0.0.1:5001'
swap 'skopeo copy' 'skopeo --insecure-policy copy'
closed
begin 'Gateway at' << 'END'
peer-cli gateway -i tracker.example --ca ca.pem --oci-origin docker.io --oci-origin ghcr.io
END

# skopeo and podman.
mkdir -p ~/.config/containers
cat > ~/.config/containers/registries.conf << 'END'
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "127.0.0.1:8642"
insecure = true
END
skopeo --insecure-policy copy docker://docker.io/library/alpine:latest dir:mirrored
same "mirrored/$layer" "$LOGS/layer"

# containerd, which asks nobody but the gateway: there is no other network here.
mkdir -p certs.d/docker.io
cat > certs.d/docker.io/hosts.toml << 'END'
server = "https://registry-1.docker.io"

[host."http://127.0.0.1:8642"]
  capabilities = ["pull", "resolve"]
END
cat > config.toml << END
version = 2
root = "$PWD/containerd"
state = "$PWD/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[grpc]
address = "$PWD/sock"
END
begin 'successfully booted' <<< 'containerd --config config.toml'
ctr -a sock content fetch --hosts-dir certs.d docker.io/library/alpine:latest
same "containerd/io.containerd.content.v1.content/blobs/sha256/$layer" "$LOGS/layer"
end
end

# The same behind a token, which the last lines for containerd give.
noise 24 | base64 > token
swap TOKEN "$(cat token)"
begin 'Gateway at' << 'END'
peer-cli gateway -i tracker.example --ca ca.pem --oci-origin docker.io --gateway 10.0.0.7:8642 --gateway-token token
END
swapped > certs.d/docker.io/hosts.toml << 'END'
server = "https://registry-1.docker.io"

[host."http://10.0.0.7:8642"]
  capabilities = ["pull", "resolve"]
[host."http://10.0.0.7:8642".header]
  Authorization = "Bearer TOKEN"
END
rm -r containerd
begin 'successfully booted' <<< 'containerd --config config.toml'
ctr -a sock content fetch --hosts-dir certs.d docker.io/library/alpine:latest
same "containerd/io.containerd.content.v1.content/blobs/sha256/$layer" "$LOGS/layer"
end
end
reopened

# Tried on one machine.
run << 'END'
tracker &
peer-cli gateway -i localhost --open --oci-origin docker.io &
sleep 2
skopeo copy --src-tls-verify=false docker://127.0.0.1:8642/library/alpine:latest dir:alpine
END
same "alpine/$layer" "$LOGS/layer"
