# What happens to the Debian package on a machine: installed, its services run, upgraded, removed and purged.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
fail() { echo "failed: $*"; exit 1; }
step() { echo "$*"; }
# Waits until a command succeeds.
until_ok() {
  for _ in $(seq 300); do
    if "$@" >/run/last 2>&1; then return; fi
    sleep 0.2
  done
  cat /run/last
  fail "in vain: $*"
}
install() { dpkg --no-triggers --force-confold --install "$1" >/run/dpkg 2>&1 || { cat /run/dpkg; fail "dpkg --install $1"; }; }
pid_of() { systemctl show --property=MainPID --value "$1"; }
# A service runs as a user of its own, without rights, behind a filter of system calls.
confined() {
  pid=$(pid_of "$1")
  user=$(stat -c %u "/proc/$pid")
  [ "$user" -ge 61184 ] && [ "$user" -le 65519 ] || fail "$1 runs as user $user"
  grep -q '^NoNewPrivs:.1' "/proc/$pid/status" || fail "$1 may gain rights"
  grep -q '^Seccomp:.2' "/proc/$pid/status" || fail "$1 may call everything"
  grep -q '^CapEff:.0000000000000000' "/proc/$pid/status" || fail "$1 has capabilities"
}
# What there is of the package, by its names.
ours() { find /etc /usr /var /srv -xdev \( -name 'p2p-*' -o -name 'peer-cli*' \) 2>/dev/null | sort; }
ours >/run/before
units='p2p-tracker.service p2p-seeder@models.service p2p-daemon.service'

step "installed: nothing runs that nobody has started"
install /trial/old.deb
for unit in $units; do
  if systemctl --quiet is-active "$unit"; then fail "$unit was started"; fi
done

step "the services run, as users of their own"
mkdir -p /etc/systemd/system/p2p-tracker.service.d /srv/p2p-fileshare/models
printf '[Service]\nStandardOutput=file:/run/tracker\n' >/etc/systemd/system/p2p-tracker.service.d/trial.conf
head -c 300000 /dev/urandom >/srv/p2p-fileshare/models/a.bin
systemctl daemon-reload
systemctl --quiet enable --now p2p-tracker.service
until_ok grep -q '^Tracker id: ' /run/tracker
id=$(sed -n 's/^Tracker id: //p' /run/tracker)
printf 'P2P_TRACKER_IP=127.0.0.1\nP2P_TRACKER_ID=%s\n' "$id" >/etc/p2p-fileshare/models.env
cp /etc/p2p-fileshare/models.env /etc/p2p-fileshare/p2p-daemon.env
systemctl --quiet enable --now p2p-seeder@models.service p2p-daemon.service
for unit in $units; do
  systemctl --quiet is-active "$unit" || fail "$unit does not run"
  confined "$unit"
done
export HOME=/root
gets() {
  rm -rf /run/got
  peer-cli get -i 127.0.0.1 --tracker-id "$id" -f a.bin -o /run/got && cmp /run/got/a.bin /srv/p2p-fileshare/models/a.bin
}
until_ok gets
ticket=$(peer-cli add /srv/p2p-fileshare/models/a.bin | grep -o 'p2p[a-z0-9]*' | tail -n 1)
[ -n "$ticket" ] || fail "the daemon gives no ticket"
peer-cli status >/run/status || fail "peer-cli status"
grep -q a.bin /run/status || fail "the daemon does not show what it shares"
systemctl reload p2p-daemon.service
systemctl --quiet is-active p2p-daemon.service || fail "the daemon does not outlive a reload"

step "upgraded: running services are those of the new version, settings and keys stay"
echo '# mine' >>/etc/p2p-fileshare/p2p-fileshare.toml
before=$(for unit in $units; do pid_of "$unit"; done)
install /trial/new.deb
for unit in $units; do
  until_ok systemctl --quiet is-active "$unit"
  pid=$(pid_of "$unit")
  if echo "$before" | grep -qx "$pid"; then fail "$unit was not started again"; fi
  confined "$unit"
done
grep -qx '# mine' /etc/p2p-fileshare/p2p-fileshare.toml || fail "the upgrade has replaced settings"
until_ok grep -q "^Tracker id: $id" /run/tracker
until_ok gets
until_ok sh -c 'peer-cli status | grep -q a.bin'

step "removed: nothing runs, settings and state stay"
mkdir -p /var/lib/private/p2p-daemon/downloads
echo theirs >/var/lib/private/p2p-daemon/downloads/kept
dpkg --no-triggers --remove p2p-fileshare >/run/dpkg 2>&1 || { cat /run/dpkg; fail "dpkg --remove"; }
for unit in $units; do
  if systemctl --quiet is-active "$unit"; then fail "$unit runs on"; fi
done
[ ! -e /usr/bin/tracker ] || fail "a program is left"
[ -e /etc/p2p-fileshare/p2p-fileshare.toml ] || fail "settings are gone"
[ -d /var/lib/private/p2p-tracker/certs ] || fail "the tracker's key is gone"

step "purged: only what was downloaded stays"
rm -r /etc/systemd/system/p2p-tracker.service.d /etc/p2p-fileshare/*.env /srv/p2p-fileshare
dpkg --no-triggers --purge p2p-fileshare >/run/dpkg 2>&1 || { cat /run/dpkg; fail "dpkg --purge"; }
grep -q 'stays in /var/lib/private/p2p-daemon/downloads' /run/dpkg || fail "purge does not say what it leaves"
left=$(ours | comm -13 /run/before -)
[ "$left" = /var/lib/private/p2p-daemon ] || fail "left: $left"
[ "$(find /var/lib/private/p2p-daemon -type f)" = /var/lib/private/p2p-daemon/downloads/kept ] || fail "state is left"
echo passed
