#!/bin/sh
# The guarded thing: a file that keeps the newest token it has seen for each slot and refuses older ones there.
# Usage: resource.sh DIRECTORY begin|end|cut TOKEN SLOT CLIENT; exit code 1 = refused.
set -u
directory=$1 what=$2 token=$3 slot=$4 client=$5

# mkdir is atomic everywhere; flock is not on every system. Who is asked to end gives the lock back first.
trap '' TERM
until mkdir "$directory/lock" 2>/dev/null; do sleep 0.01; done
trap 'rmdir "$directory/lock"' EXIT

newest=$(cat "$directory/newest-$slot" 2>/dev/null || echo 0)
if [ "$token" -lt "$newest" ]; then
  echo "refused $token $slot $client" >>"$directory/file"
  exit 1
fi
echo "$token" >"$directory/newest-$slot"
echo "$what $token $slot $client" >>"$directory/file"
