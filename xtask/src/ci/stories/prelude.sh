# What the stories of docs/use have in common. Commands stand here as the pages have them; `swap` says what is typed in place of what
# is only an example there.
set -euo pipefail
mount -t proc proc /proc
printf '127.0.0.1 localhost tracker.example tracker.fleet\n' > "$LOGS/hosts"
mount --bind "$LOGS/hosts" /etc/hosts
# Nothing leads out of here, and programs think that something does.
ip link set lo up
ip link add lan type veth peer name other
ip address add 10.0.0.7/24 dev lan
ip link set lan up
ip link set other up
ip route add default via 10.0.0.1
running=() logs=()
declare -A swaps
swap() { swaps[$1]=$2; }
swapped() {
  local text example
  text=$(cat)
  for example in "${!swaps[@]}"; do text=${text//"$example"/"${swaps[$example]}"}; done
  printf '%s\n' "$text"
}
# Runs what is read, as if it were pasted.
run() {
  local text
  text=$(swapped)
  printf '$ %s\n' "$text"
  eval "$text"
}
# Starts a command that goes on, and waits until it says this.
begin() {
  local text log
  text=$(swapped)
  log=$(mktemp "$LOGS/log.XXXXXX")
  printf '$ %s\n' "$text"
  (eval "exec $text") > "$log" 2>&1 < /dev/null &
  running+=("$!") logs+=("$log")
  for _ in $(seq 600); do
    if grep -q -- "$1" "$log"; then return; fi
    kill -0 "${running[-1]}" 2> /dev/null || break
    sleep 0.1
  done
  echo "it never says $1:"
  cat "$log"
  exit 1
}
# Ends what was begun last.
end() {
  kill "${running[-1]}"
  wait "${running[-1]}" || true
  unset 'running[-1]' 'logs[-1]'
}
# From now on p2p… is the ticket of what was begun last, or in this file.
ticket() { swap 'p2p…' "$(grep -oE '\bp2p[a-z0-9]{20,}' "${1:-${logs[-1]}}" | head -n 1)"; }
same() { cmp "$1" "$2"; }
noise() { head -c "$1" /dev/urandom; }
# A tracker of a closed swarm, whose authority is at both places that the pages name.
closed() {
  tracker --init-closed --peers 5 > "$LOGS/init"
  cp certs/ca.pem ca.pem
  begin 'Listening on' <<< 'tracker --ca certs/ca.pem'
}
# Its tracker, and whatever is closed, is gone.
reopened() {
  end
  rm -r certs ca.pem
}
# A hub that has org/model and the model that one of the pages names.
hub() {
  noise 3000000 > "$LOGS/model.safetensors"
  begin 'hub at' <<< "python3 -u $STORIES/hub.py 5080 $LOGS/model.safetensors"
  swap https://huggingface.co http://127.0.0.1:5080
  export HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_PROGRESS_BARS=1
}
# A server of buckets, with an object.
bucket() {
  begin 'Running on' <<< 'moto_server -p 5000'
  export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_REGION=us-east-1 AWS_ENDPOINT_URL=http://127.0.0.1:5000
  mkdir -p models
  noise 5000000 > models/big.bin
  noise 1000000 > models/model.bin
  python3 - << 'END'
import boto3
s3 = boto3.client("s3")
s3.create_bucket(Bucket="models")
for name in ["big.bin", "model.bin"]:
    s3.upload_file("models/" + name, "models", "run-7/" + name)
END
}
