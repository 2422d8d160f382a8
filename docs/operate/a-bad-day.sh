#!/usr/bin/env bash
# Rehearses a bad day, and prints what a-bad-day.md says of it: 40 processes in two sites with a thin link between them get a file,
# and half way one of the two trackers is killed. A newcomer comes, an operator goes on working, and the tracker comes back.
#
#     sudo docs/operate/a-bad-day.sh PROGRAMS [PICTURES]
#
# PROGRAMS is a folder with `peer-cli` and `tracker`, built with all features. PICTURES is a folder for pictures of the two pages; they
# need Chromium, and a Python with playwright (P2P_TEST_PYTHON). It takes two minutes, and 3 GiB each of disk (TMPDIR) and memory. It needs
# root, Linux, and the programs ip, tc, curl, jq and prometheus.
#
# Why it is so:
# - Each machine is a network namespace with a link of 100 Mbit/s to its site's bridge. A router joins the sites; what it sends to either
#   is 20 Mbit/s at most. Nothing leads out of this network, and the machine's own is not touched.
# - Peers do not look for each other by multicast (--no-lan): a newcomer shall depend on trackers.
# - The share is open, so that three seeders share one content: each private share has a secret of its own.
# - Alerts wait for minutes, on purpose. Here each minute of the rules is a second, and the tracker is away for 50.
# - A file gets its name when it is complete and durable. So the files there are count the peers that are done.
set -euo pipefail
export LC_ALL=C

programs=$(realpath "${1:?the folder with peer-cli and tracker}")
pictures=${2:+$(realpath "$2")}
peers=${PEERS:-16} # in each site, beside a daemon
mebibytes=${MEBIBYTES:-64}
outage=${OUTAGE:-50}
thin=20 fast=100 # Mbit/s
python=${P2P_TEST_PYTHON:-python3}
repository=$(realpath "$(dirname "$0")/../..")
run=bad-day-$$
work=$(mktemp -d "${TMPDIR:-/tmp}/bad-day.XXXXXX")
namespaces=()
declare -A process

clean_up() {
  for signal in TERM KILL; do
    # Of what this shell has started, what still runs: no other process can have these ids.
    for id in $(jobs -pr); do kill -"$signal" "$id" 2> /dev/null || true; done
    for _ in $(seq 60); do
      [[ -n $(jobs -pr) ]] || break
      sleep 0.1
    done
  done
  wait || true
  for name in "${namespaces[@]}"; do ip netns delete "$name" || true; done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# The time in milliseconds, and the seconds between two such times.
now() { echo $((${EPOCHREALTIME/./} / 1000)); }
seconds() { awk -v from="$1" -v to="$2" 'BEGIN { printf "%.1f", (to - from) / 1000 }'; }
# Waits until a command succeeds, for so many seconds at most.
await() {
  local patience=$1 end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS <= end)) || { echo "still not after $patience s: $*" >&2; return 1; }
    sleep 0.1
  done
}

# --- The network ---

namespace() {
  ip netns add "$run-$1"
  namespaces+=("$run-$1")
  mkdir "$work/$1"
  ip -n "$run-$1" link set lo up
}
# Of a namespace and an interface: the most it sends, in Mbit/s. What waits longer than 50 ms is lost.
limited() { tc -n "$run-$1" qdisc add dev "$2" root tbf rate "$3mbit" burst 32k latency 50ms; }
site() {
  namespace "site-$1"
  ip -n "$run-site-$1" link add bridge type bridge
  ip -n "$run-site-$1" link set bridge up
  ip link add "to-$1" netns "$run-router" type veth peer name router netns "$run-site-$1"
  ip -n "$run-site-$1" link set router master bridge up
  ip -n "$run-router" address add "10.81.$1.1/24" dev "to-$1"
  ip -n "$run-router" link set "to-$1" up
  limited router "to-$1" "$thin"
}
# A machine: its name, its site, and the end of its address.
machine() {
  namespace "$1"
  ip link add uplink netns "$run-$1" type veth peer name "port-$3" netns "$run-site-$2"
  ip -n "$run-site-$2" link set "port-$3" master bridge up
  ip -n "$run-$1" address add "10.81.$2.$3/24" dev uplink
  ip -n "$run-$1" link set uplink up
  ip -n "$run-$1" route add default via "10.81.$2.1"
  limited "$1" uplink "$fast"
}

# Runs a command on a machine, as a user whose folders are all in the machine's own.
at() {
  cd "$work/$1"
  exec ip netns exec "$run-$1" env -i PATH="$programs:$PATH" HOME="$PWD" XDG_RUNTIME_DIR="$PWD" "${@:2}"
}
# The same in the background. Its output is in the machine's folder.
start() {
  (at "$@") > "$work/$1/out" 2> "$work/$1/err" < /dev/null &
  process[$1]=$!
}
start_tracker() {
  start "$1" tracker --metrics 0.0.0.0:9100 --page 9102
  await 10 grep -qs tracker-id "$work/$1/out"
}
start_peer() { start "$1" peer-cli get "$ticket" --site "$2" --no-lan --seed-for forever --json; }
start_daemon() {
  head -c 24 /dev/urandom | base64 > "$work/$1/token"
  start "$1" peer-cli daemon -i "$trackers" --tracker-id "$ids" --open --site "$2" --no-lan \
    --metrics 0.0.0.0:9101 --gateway 8642 --gateway-token token
  await 10 test -S "$work/$1/p2p-fileshare/control.sock"
}
# What an operator types on a machine, and what they see. Tickets are cut.
typed() {
  printf '%s$ %s\n' "$1" "${*:2}" > "$work/typed"
  (at "$@") >> "$work/typed" 2>&1 || echo "(status $?)" >> "$work/typed"
  sed -E "s/p2p[a-z0-9]{30,}/p2p…/g; s#$work/$1#~#g" "$work/typed"
}
# A page, with the content chosen: machine, port, password, name of the picture, its height.
picture() {
  [[ -n $pictures ]] || return 0
  timeout 40 ip netns exec "$run-$1" env PYTHONPATH="$repository/crates/page/python" "$python" - "${@:2}" "$pictures" << 'PYTHON'
import sys
from browser import opened, picture
port, token, name, height, folder = sys.argv[1:]
with opened("/usr/bin/chromium", f"http://127.0.0.1:{port}/" + ("page" if token else ""), token) as page:
    page.locator("#contents-table .cell", has_text="model.bin").first.wait_for()
    page.locator("#contents-table [role=grid]").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#peers-table .scroll .row").first.wait_for()
    page.set_viewport_size({"width": 1000, "height": int(height)})
    page.wait_for_timeout(3000)
    picture(page, folder, name, dark=False)
PYTHON
}

# --- Questions ---

ask() { (at watch curl -sfG "http://127.0.0.1:9090/api/v1/$1" "${@:2}"); }
# What a query said at these times: a row for each of its series, by their labels.
query() {
  local text=$1 time
  for time in "${@:2}"; do
    ask query --data-urlencode "query=$text" -d "time=$((time / 1000))" |
      jq -r --arg time "$time" '.data.result[] | [(.metric | del(.__name__, .job) | join(" ")), $time, .value[1]] | @tsv'
  done | awk -F '\t' -v times="${*:2}" '{ value[$1, $2] = int($3 * 100 + 0.5) / 100; labels[$1] }
    END { split(times, at, " ")
      for (label in labels) {
        printf "  %-22s", label
        for (i = 1; i in at; i++) printf "%9s", (label, at[i]) in value ? value[label, at[i]] : "-"
        print ""
      } }' | sort
}
nothing() { [[ $(ask query --data-urlencode "query=$1" | jq '.data.result | length') == 0 ]]; }
half() { (at daemon-2 peer-cli status --json) | jq -es 'any(.[]; .answer == "content" and .pieces > 0 and .have * 2 >= .pieces)' > /dev/null; }
members() { (at watch curl -sf "http://10.81.$1.2:9100/metrics") | awk '$1 == "p2p_tracker_peers" { print int($2) }'; }
has_members() { (($(members "$1" || echo 0) >= $2)); }
# Samples of the router: the time, the bytes that it has sent to site two, and the peers that are done in site one and two.
sampled() { awk -v time="$1" '$1 <= time { bytes = $2 } END { print bytes + 0 }' "$work/router/out"; }
done_at() { awk -v column="$(($1 + 2))" -v count=$((peers + 1)) '$column >= count { print $1; exit }' "$work/router/out"; }
both_done() { [[ -n $(done_at 1) && -n $(done_at 2) ]]; }
rate() { awk -v bytes=$(($(sampled "$2") - $(sampled "$1"))) -v ms=$(($2 - $1)) 'BEGIN { printf "%.1f Mbit/s", bytes / 125 / ms }'; }
events() { cat "$work"/{peer-*,newcomer}/out | grep -cE "\"event\":\"$1" || true; }
fact() { printf '%-56s %s\n' "$1" "$2"; }

# --- The rehearsal ---

namespace router
site 1
site 2
ip netns exec "$run-router" sysctl -qw net.ipv4.ip_forward=1
machine watch 1 3
for site in 1 2; do
  machine "tracker-$site" "$site" 2
  machine "daemon-$site" "$site" 20
  for number in $(seq "$peers"); do machine "peer-$site-$number" "$site" $((100 + number)); done
done
for number in 1 2 3; do machine "seeder-$number" 1 $((10 + number)); done
machine newcomer 2 99
head -c "${mebibytes}M" /dev/urandom > "$work/model.bin"
head -c 1M /dev/urandom > "$work/daemon-2/notes.bin"

start_tracker tracker-1
start_tracker tracker-2
trackers=10.81.1.2,10.81.2.2
ids=$(sed -nE 's/.*--tracker-id ([0-9a-f]+).*/\1/p' "$work"/tracker-[12]/out | paste -sd,)
for number in 1 2 3; do
  start "seeder-$number" peer-cli share -i "$trackers" --tracker-id "$ids" --open --site one --no-lan --no-code --piece-size 256KiB --json \
    "$work/model.bin"
done
for number in 1 2 3; do await 20 grep -qs '"ticket"' "$work/seeder-$number/out"; done
ticket=$(jq -r 'select(.event == "ticket").ticket' "$work/seeder-1/out" | head -n 1)
start_daemon daemon-1 one
start_daemon daemon-2 two

sed -E 's/\b([0-9]+)m\b/\1s/g' "$repository/packaging/prometheus/p2p-fileshare.rules.yml" > "$work/watch/rules.yml"
cat > "$work/watch/prometheus.yml" << 'YAML'
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: p2p
    static_configs:
      - {targets: ["10.81.1.2:9100"], labels: {instance: tracker-1}}
      - {targets: ["10.81.2.2:9100"], labels: {instance: tracker-2}}
      - {targets: ["10.81.1.20:9101"], labels: {instance: daemon-1}}
      - {targets: ["10.81.2.20:9101"], labels: {instance: daemon-2}}
YAML
start watch prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:9090 --log.level=error
await 30 nothing 'absent(sum(up) == 4)'
# shellcheck disable=SC2016 # It is the other shell that expands this.
start router bash -c 'shopt -s nullglob
  while sleep 0.25; do
    one=(../{peer-1-*,daemon-[1]}/model.bin) two=(../{peer-2-*,daemon-[2]}/model.bin)
    echo "$((${EPOCHREALTIME/./} / 1000)) $(< /sys/class/net/to-2/statistics/tx_bytes) ${#one[@]} ${#two[@]}"
  done'
await 5 test -s "$work/router/out"

begin=$(now)
for number in $(seq "$peers"); do
  start_peer "peer-1-$number" one
  start_peer "peer-2-$number" two
done
typed daemon-1 peer-cli add "$ticket"
typed daemon-2 peer-cli add "$ticket"
await 120 half
before=$(members 2)
killed=$(now)
echo "# tracker-2 is killed, $(seconds "$begin" "$killed") s after the start"
kill -9 "${process[tracker-2]}"
wait "${process[tracker-2]}" 2> /dev/null || true
sleep 3
came=$(now)
start_peer newcomer two
await 30 grep -qs '"received":[1-9]' "$work/newcomer/out"
served=$(now)

typed daemon-2 peer-cli status
picture daemon-2 8642 "$(cat "$work/daemon-2/token")" page-rehearsal-daemon 1180
typed daemon-2 peer-cli limit --down 4mbit
typed daemon-2 peer-cli pause model.bin
sleep 1
typed daemon-2 peer-cli resume model.bin
typed daemon-2 peer-cli limit --down none
picture tracker-1 9102 "" page-rehearsal-tracker 760
typed daemon-2 peer-cli add notes.bin
notes=$(grep -oE 'p2p[a-z0-9]{30,}' "$work/typed")
typed daemon-1 peer-cli add "$notes"
await 20 test -e "$work/daemon-1/notes.bin"
typed daemon-1 peer-cli status
typed daemon-1 peer-cli rm notes.bin

await 180 both_done
await 120 test -e "$work/newcomer/model.bin"
while (($(now) < killed + outage * 1000)); do sleep 0.2; done
down=$(now)
start_tracker tracker-2
await 60 has_members 2 "$before"
back=$(now)
await 120 nothing 'ALERTS{alertstate="firing"} or p2p_trackers{state="lost"} > 0'
sleep 2
end=$(now)

# --- What came of it ---

one=$(done_at 1) two=$(done_at 2) bytes=$((mebibytes << 20))
last=$((one > two ? one : two))
equal=0 alive=0
for file in "$work"/{peer-*,daemon-*,newcomer}/model.bin; do cmp -s "$work/model.bin" "$file" && equal=$((equal + 1)); done
unset 'process[watch]' 'process[router]'
for id in "${process[@]}"; do kill -0 "$id" 2> /dev/null && alive=$((alive + 1)); done
echo
fact "all in site one had it after" "$(seconds "$begin" "$one") s"
fact "all had it after" "$(seconds "$begin" "$last") s"
fact "the bound: one copy over the thin link" "$(awk -v b=$bytes -v t=$thin 'BEGIN { printf "%.1f s", b / 125000 / t }')"
fact "copies' worth of bytes over the thin link" "$(awk -v b=$(($(sampled "$last") - $(sampled "$begin"))) -v c=$bytes 'BEGIN { printf "%.2f", b / c }')"
there=$(cat "$work"/{peer-1-*,seeder-*}/out | jq -c 'select(.event == "ready").id' | jq -cs .)
fact "copies that site two kept from there (without daemons)" "$(cat "$work"/peer-2-*/out | jq -s --argjson there "$there" --argjson bytes $bytes \
  '[.[] | select(.event == "completed").sources | to_entries[] | select(.key | IN($there[])).value] | add / $bytes * 100 | round / 100')"
fact "the thin link in the 5 s before that, and after" "$(rate $((killed - 5000)) "$killed"), $(rate "$killed" $((killed + 5000)))"
fact "events: a tracker lost, one silent, nothing for 3 s" "$(events tracker_), $(events 'waiting".*tracker'), $(events waiting)"
fact "lines of peers on standard error" "$(cat "$work"/{peer-*,newcomer,seeder-*,daemon-*}/err | wc -l)"
fact "a newcomer $(seconds "$killed" "$came") s later: first bytes, all of it" \
  "$(seconds "$came" "$served") s, $(jq -r 'select(.event == "completed").seconds_durable * 10 | round / 10' "$work/newcomer/out") s"
fact "tracker-2 came back after, and knew all $before peers in" "$(seconds "$killed" "$down") s, $(seconds "$down" "$back") s"
fact "files that are equal to the original" "$equal of $((2 * peers + 3))"
fact "processes of the swarm that run at the end" "$alive of ${#process[@]}"
printf '\nAlerts, in seconds after the kill (minutes of the rules are seconds here):\n'
ask query_range --data-urlencode 'query=ALERTS{alertstate="firing"}' -d "start=$((begin / 1000))" -d "end=$((end / 1000))" -d step=1 |
  jq -r --argjson killed $((killed / 1000)) '.data.result[] | "\(.values[0][0] - $killed) to \(.values[-1][0] + 1 - $killed)", .metric.alertname, .metric.instance' |
  paste - - - | sort -n
printf '\nQueries, 2 s before the kill, %s s after it, and at the end:\n' $((outage - 5))
for text in 'up' 'p2p_tracker_peers' 'p2p_trackers{state="lost"}' 'p2p_contents > 0' \
  'sum by (instance) (rate(p2p_received_bytes_total[5s])) / 1e6' 'rate(p2p_waited_seconds_total{instance="daemon-2"}[5s]) > 0.1' \
  'sum by (instance) (p2p_pieces_wrong_total)' 'p2p_tracker_memory_bytes / 1e6'; do
  echo "$text"
  query "$text" $((killed - 2000)) $((killed + (outage - 5) * 1000)) "$end"
done
