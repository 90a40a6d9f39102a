#!/bin/sh
# One client of the demo: asks for its turn, writes to the guarded file under its token, gives the place back.
# Usage: client.sh NAME QUEUE DIRECTORY HOLD_SECONDS "URL URL …"
# It prints one line per event; the demo reads them.
set -u
name=$1 queue=$2 directory=$3 hold=$4 urls=$5
resource=$(dirname "$0")/resource.sh
newline='
'

# ask PATH JSON: sets $status and $body. The same call goes to the next replica until one answers; every call of the
# service may be repeated.
ask() {
  tries=0
  while [ "$tries" -lt 100 ]; do
    url=${urls%% *}
    if answer=$(curl --silent --max-time 15 --write-out '\n%{http_code}' \
      --header 'content-type: application/json' --data "$2" "$url$1"); then
      status=${answer##*"$newline"}
      body=${answer%"$newline"*}
      [ "$status" = 503 ] || return 0
    fi
    echo "retries $url"
    urls="${urls#* } $url"
    tries=$((tries + 1))
    sleep 0.2
  done
  echo "failed nobody answers"
  exit 1
}

# field NAME: one string or number of the last answer.
field() {
  printf '%s\n' "$body" | sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'
}

state=
while [ "$state" != held ]; do
  ask "/v1/queues/$queue/acquire" \
    "{\"holder\":\"$name\",\"claim_id\":\"$name\",\"ttl_ms\":3000,\"wait_ms\":10000}"
  state=$(field state)
  case $state in
  held) ;;
  waiting) echo "waits $(field position)" ;;
  *)
    echo "failed $status $body"
    exit 1
    ;;
  esac
done
token=$(field fencing_token) slot=$(field slot)

if "$resource" "$directory" begin "$token" "$slot" "$name"; then
  echo "begins $token $slot"
else
  echo "refused $token $slot"
fi
sleep "$hold"
if "$resource" "$directory" end "$token" "$slot" "$name"; then
  echo "ends $token $slot"
else
  echo "refused $token $slot"
fi

ask "/v1/queues/$queue/claims/$name/release" "{\"fencing_token\":$token}"
echo "released $(field released) $(field reason)"
