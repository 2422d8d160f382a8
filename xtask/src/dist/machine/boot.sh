# Boots systemd in namespaces of its own, over this machine's files: what is written there goes into memory, and is gone at the end.
# Called as root, in namespaces of its own (mounts and processes), as `boot.sh FOLDER GROUP`: FOLDER is /trial inside, and its story.sh
# is run there as a service. Everything ends with that service, or with this script. GROUP is what its group of processes is called.
set -eu
trial=$1
mount --make-rprivate /
if [ "$2" != inside ]; then
  # A group of processes of its own: in the hierarchy that systemd uses, which is removed at the end.
  groups=$trial/groups
  mkdir "$groups"
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 "$groups"
  else
    mount -t cgroup -o none,name=systemd cgroup "$groups"
  fi
  group=$groups/$2
  mkdir "$group"
  status=0
  sh -c 'echo 0 > "$1/cgroup.procs" && shift && exec "$@"' sh "$group" \
    timeout --kill-after=5 270 unshare --mount --pid --fork --kill-child --ipc --uts --net --cgroup sh "$0" "$trial" inside || status=$?
  # Processes are gone a moment after their namespace.
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
    sleep 0.3
  done
  umount "$groups"
  rmdir "$groups"
  exit "$status"
fi
room=$trial/room
mkdir "$room"
mount -t tmpfs -o size=2g tmpfs "$room"
mkdir "$room/upper" "$room/work" "$room/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$room/upper,workdir=$room/work" "$room/root"
cd "$room/root"
mkdir -p trial
mount --bind "$trial" trial
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t sysfs -o ro sysfs sys
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs tmpfs sys/fs/cgroup
  mkdir sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm dev/mqueue dev/hugepages
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
# Of the machine's own services none is started.
rm -rf etc/systemd/system/*.wants lib/systemd/system/*.target.wants
cat > etc/systemd/system/trial.service <<'UNIT'
[Unit]
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=/bin/sh /trial/story.sh
TimeoutStartSec=240
StandardOutput=file:/trial/said
StandardError=file:/trial/said
UNIT
mkdir tmp/old
pivot_root . tmp/old
umount -l /tmp/old
exec env -i container=trial PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=trial.service --log-target=null
