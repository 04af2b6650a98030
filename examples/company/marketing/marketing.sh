#!/bin/sh
# The company's marketing system: how a system without Kafka takes part, with curl alone.
#
# It keeps one file, subscribers.csv: whom the company may write to. It fetches it from the accounts system, and asks
# the privacy platform for its tasks: whom to forget.
#
# Invariant: a person is written into `forgotten`, then removed, then the answer is sent. A kill at any point costs a
# repeat with the same Idempotency-Key, and a list fetched later brings nobody back.
#
# Environment: ISSUER, CLIENT_ID, CLIENT_SECRET, DSR_URL, ACCOUNTS_URL, DATA_DIR; INTERVAL, seconds between rounds (10).
# `marketing.sh` runs for ever, `marketing.sh once` for one round.
set -u
umask 077
: "${ISSUER:?}" "${CLIENT_ID:?}" "${CLIENT_SECRET:?}" "${DSR_URL:?}" "${ACCOUNTS_URL:?}" "${DATA_DIR:?}"
subscribers=$DATA_DIR/subscribers.csv
forgotten=$DATA_DIR/forgotten # lines of account, outcome
etag=$DATA_DIR/subscribers.etag
mkdir -p "$DATA_DIR" || exit 1
[ -e "$subscribers" ] || : >"$etag" # no list: whatever was fetched has to be fetched again
touch "$subscribers" "$forgotten" "$etag" || exit 1

say() { echo "marketing: $*"; }

# curl, with what must not be seen in a process list on its standard input.
call() { curl --silent --fail --connect-timeout 3 --max-time 30 --proto =http,https --config - "$@"; }

# The value of a field in a small JSON object. Ids, numbers and addresses of services need no more.
field() { printf '%s' "$1" | sed -n "s/.*\"$2\" *: *\"\{0,1\}\([^\",}]*\).*/\1/p"; }

# quoted VALUE: as curl's configuration wants it.
quoted() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }

# token AUDIENCE: a token for one service, by client credentials.
token() {
  endpoint=$(field "$(call "$ISSUER/.well-known/openid-configuration" </dev/null)" token_endpoint)
  [ -n "$endpoint" ] || return 1
  granted=$(printf 'data-urlencode = "%s"\n' "grant_type=client_credentials" "audience=$1" \
    "client_id=$(quoted "$CLIENT_ID")" "client_secret=$(quoted "$CLIENT_SECRET")" | call "$endpoint") || return 1
  field "$granted" access_token | grep .
}

bearer() { printf 'header = "Authorization: Bearer %s"\n' "$1"; }

# The list in $1 without those who are forgotten, put in the place of the old one, whole or not at all.
keep() {
  awk -F, 'FILENAME == ARGV[1] { gone[$1] = 1; next } !($1 in gone)' "$forgotten" "$1" >"$subscribers.new" &&
    mv "$subscribers.new" "$subscribers"
}

# Fetch whom we may write to. An unchanged list is answered with 304 and read by nobody.
fetch_list() {
  access=$(token accounts) || return 1
  status=$({ bearer "$access"; printf 'header = "If-None-Match: %s"\n' "$(quoted "$(cat "$etag")")"; } |
    call --dump-header "$DATA_DIR/head" --output "$DATA_DIR/list" --write-out '%{http_code}' \
      "$ACCOUNTS_URL/v1/marketing-list") || return 1
  [ "$status" = 304 ] && return 0
  [ "$status" = 200 ] && [ "$(head -n 1 "$DATA_DIR/list" | tr -d '\r')" = account,email ] || return 1
  tr -d '\r' <"$DATA_DIR/list" | sed 1d >"$DATA_DIR/lines" && keep "$DATA_DIR/lines" || return 1
  tr -d '\r' <"$DATA_DIR/head" | sed -n 's/^[Ee][Tt][Aa][Gg]: *//p' >"$etag"
  rm -f "$DATA_DIR/list" "$DATA_DIR/lines" "$DATA_DIR/head"
}

# forget ACCOUNT: remove a person for good; prints the outcome, the same each time.
forget() {
  outcome=$(awk -F, -v account="$1" '$1 == account { print $2; exit }' "$forgotten")
  if [ -z "$outcome" ]; then
    outcome=not_found
    awk -F, -v account="$1" '$1 == account { found = 1 } END { exit !found }' "$subscribers" && outcome=done
    { cat "$forgotten"; echo "$1,$outcome"; } >"$forgotten.new" && mv "$forgotten.new" "$forgotten" || return 1
  fi
  keep "$subscribers" && echo "$outcome"
}

# Do every task, and answer it.
do_tasks() {
  access=$(token dsr) || return 1
  tasks=$(bearer "$access" | call "$DSR_URL/v1/tasks") || return 1
  printf '%s' "$tasks" | tr '{' '\n' | grep '"account"' | while read -r task; do
    id=$(field "$task" id) account=$(field "$task" account) attempt=$(field "$task" attempt)
    [ -n "$id" ] && [ -n "$account" ] || continue
    outcome=$(forget "$account") || exit 1
    { bearer "$access"; printf 'header = "%s"\n' "Content-Type: application/json" "Idempotency-Key: $id-$attempt"; } |
      call --output /dev/null --data "{\"outcome\": \"$outcome\"}" "$DSR_URL/v1/tasks/$id/reply" || exit 1
    say "task $id: $outcome"
  done
}

round() {
  fetch_list || say "the list has to wait"
  do_tasks || say "the tasks have to wait"
}

if [ "${1:-}" = once ]; then
  round
  exit
fi
trap 'exit 0' TERM INT
while :; do
  round
  sleep "${INTERVAL:-10}" &
  wait $!
done
