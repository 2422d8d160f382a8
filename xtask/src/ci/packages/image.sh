# The image as an engine runs it, with --read-only and a user that is nobody: called as root in namespaces of its own (mounts,
# processes, network) with the folder that is to be the root. Only /data can be written to; there is no /dev, /proc or /tmp.
set -eu
root=$1
# The reason stands last: of all that is said, the last line is told on.
fail() { cat "$root"/data/*.log >&2 || true; echo "$*" >&2; exit 1; }
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t tmpfs -o mode=755,uid=65534,gid=65534 tmpfs "$root/data"
mount -o remount,bind,ro,nosuid,nodev "$root"
ip link set lo up
# The engine's part: the root, the user, the folder and the one variable.
unshare=$(command -v unshare)
enter() { exec env -i PATH=/bin "$unshare" --root="$root" --setgid=65534 --setuid=65534 --wd=/data "$@" </dev/null; }
inside() { (enter "$@"); }
inside /bin/tracker --version >/dev/null || fail "tracker does not start"
inside /bin/peer-cli --version >/dev/null || fail "peer-cli does not start"
head -c 300000 /dev/urandom >"$root/data/model.bin"
enter /bin/tracker --metrics 9100 >"$root/data/tracker.log" 2>&1 &
tracker=$!
for _ in $(seq 300); do grep -q '^Tracker id: ' "$root/data/tracker.log" && break; sleep 0.2; done
id=$(sed -n 's/^Tracker id: //p' "$root/data/tracker.log")
[ -n "$id" ] || fail "the tracker does not say its id"
mkdir "$root/data/input"
mv "$root/data/model.bin" "$root/data/input/"
chown -R 65534:65534 "$root/data/input"
enter /bin/peer-cli -i 127.0.0.1 --tracker-id "$id" -S >"$root/data/seeder.log" 2>&1 &
seeder=$!
for _ in $(seq 100); do
  if inside /bin/peer-cli get -i 127.0.0.1 --tracker-id "$id" -f model.bin -o got >"$root/data/getter.log" 2>&1; then break; fi
  sleep 0.5
done
cmp "$root/data/input/model.bin" "$root/data/got/model.bin" || fail "the file did not come: $(cat "$root/data/getter.log")"
[ "$(stat -c %u "$root/data/got/model.bin")" = 65534 ] || fail "it ran as somebody else"
# Here is no certificate of an authority: a gateway with origins starts all the same.
enter /bin/peer-cli gateway -i 127.0.0.1 --tracker-id "$id" --open --oci-origin http://127.0.0.1:1 \
  --hf-origin https://127.0.0.1:1 >"$root/data/gateway.log" 2>&1 &
gateway=$!
for _ in $(seq 100); do grep -q '^Gateway at ' "$root/data/gateway.log" && break; sleep 0.2; done
grep -q '^Gateway at ' "$root/data/gateway.log" || fail "a gateway does not start: $(cat "$root/data/gateway.log")"
kill -TERM "$gateway"
if inside /bin/tracker --port 9998 --certs /elsewhere >/dev/null 2>&1; then fail "the root can be written to"; fi
kill -TERM "$seeder" "$tracker"
wait "$tracker" || fail "the tracker does not end in order"
echo passed
