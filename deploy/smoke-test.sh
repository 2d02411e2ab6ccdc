#!/bin/sh
# Is a cluster that was just deployed or restored one that serves? Exit code 0: yes.
#   deploy/smoke-test.sh HOST:PORT[,HOST:PORT...] [STORE]
# The API key comes from HOLDFAST_API_KEY. With a store its newest backup is tried as well.
set -eu
nodes=${1:?usage: smoke-test.sh HOST:PORT[,HOST:PORT...] [STORE]}
store=${2:-}
holdfast=${HOLDFAST:-holdfast}
first=${nodes%%,*}
name=smoke-test-$$

$holdfast admin health-check --nodes "$nodes"
$holdfast collection create "$name" --dimension 4 --nodes "$nodes"
trap '$holdfast collection drop "$name" --nodes "$nodes" > /dev/null' EXIT
points=$(mktemp --suffix=.jsonl)
printf '{"id":1,"vector":[1,2,3,4]}\n{"id":2,"vector":[4,3,2,1]}\n' > "$points"
$holdfast import "$points" --collection "$name" --nodes "$nodes"
rm -f "$points"
$holdfast query --collection "$name" --doc-id 2 --nodes "$nodes"
$holdfast search "$name" --vector '[1,2,3,4]' --k 1 --nodes "$nodes"
$holdfast log verify --nodes "$first"
if [ -n "$store" ]; then $holdfast backup verify --restore --from "$store"; fi
echo 'smoke test: good'
