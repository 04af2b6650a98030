#!/bin/sh
# The company's marketing system: how a system without Kafka takes part, with curl alone.
#
# It keeps one file, subscribers.csv: whom the company may write to. It fetches it from the accounts system, and asks
# the privacy platform for its tasks: whom to forget, and by which address they may stand on the list.
#
# Invariant: a person is written into `forgotten`, then removed, then the answer is sent. A kill at any point costs a
# repeat with the same Idempotency-Key, and a list fetched later brings nobody back. An address stands in
# subscribers.csv and nowhere else: who is forgotten is known by opaque ids.
#
# Environment: ISSUER, CLIENT_ID, CLIENT_SECRET, DSR_URL, ACCOUNTS_URL, DATA_DIR; INTERVAL, seconds between rounds (10).
# `marketing.sh` runs for ever, `marketing.sh once` for one round.
set -u
umask 077
export LC_ALL=C # letters are ASCII, as in a mail address
: "${ISSUER:?}" "${CLIENT_ID:?}" "${CLIENT_SECRET:?}" "${DSR_URL:?}" "${ACCOUNTS_URL:?}" "${DATA_DIR:?}"
subscribers=$DATA_DIR/subscribers.csv
forgotten=$DATA_DIR/forgotten # lines of account, or of request where there is none, and outcome
etag=$DATA_DIR/subscribers.etag
mkdir -p "$DATA_DIR" || exit 1
[ -e "$subscribers" ] || : >"$etag" # no list: whatever was fetched has to be fetched again
touch "$subscribers" "$forgotten" "$etag" || exit 1

say() { echo "marketing: $*"; }

# curl, with what must not be seen in a process list on its standard input.
call() { curl --silent --fail --connect-timeout 3 --max-time 30 --proto =http,https --config - "$@"; }

# The value of a field in a small JSON object. Ids, numbers and addresses of services need no more.
field() { printf '%s' "$1" | sed -n "s/.*\"$2\" *: *\"\{0,1\}\([^\",}]*\).*/\1/p"; }

# The account of a task; nothing where it is null.
account() { printf '%s' "$1" | sed -n 's/.*"account" *: *"\([^"]*\)".*/\1/p'; }

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
}

# The value of each "value" in the JSON on standard input, one a line. A string may hold whatever JSON has signs for; one
# with an escape that no mail address needs is refused, since nobody could be found by it.
values() {
  awk '{
    while (match($0, /"([^"\\]|\\.)*"/)) {
      text = substr($0, RSTART + 1, RLENGTH - 2)
      $0 = substr($0, RSTART + RLENGTH)
      if ($0 ~ /^[ \t]*:/) key = text
      else if (key == "value") {
        gsub(/\\"/, "\"", text)
        gsub(/\\\//, "/", text)
        if (text ~ /\\/) exit 1
        print text
      }
    }
  }'
}

# meant ACCOUNT: the accounts on the list that are this one, or have one of the addresses on standard input.
meant() {
  awk -v account="$1" '
    part == 1 { if ($0 != "") addresses[tolower($0)]; next }
    { id = $0; sub(/,.*/, "", id) }
    id "" == account "" || tolower(substr($0, length(id) + 2)) in addresses { print id }' part=1 - part=2 "$subscribers"
}

# noted KEY: the outcome that is written down for an account or a request. Ids are text, also those of digits alone.
noted() { awk -F, -v key="$1" '$1 "" == key "" { print $2; exit }' "$forgotten"; }

# forget KEY ACCOUNT: write down whoever is meant; prints the outcome. A line that was found by its address is noted by
# its account, so a repeat needs no address.
forget() {
  accounts=$(meant "$2") || return 1
  outcome=${accounts:+done}
  for each in $accounts; do
    [ "$each" = "$1" ] || echo "$each,done"
  done | cat "$forgotten" - >"$forgotten.new" && echo "$1,${outcome:=not_found}" >>"$forgotten.new" &&
    mv "$forgotten.new" "$forgotten" && echo "$outcome"
}

# do_task TASK: forget, then answer. What was noted before is answered again, and whom it was about is not asked.
do_task() {
  id=$(field "$1" id) request=$(field "$1" request) attempt=$(field "$1" attempt) account=$(account "$1")
  [ -n "$id" ] && [ -n "$request" ] || return 0
  outcome=$(noted "${account:-$request}")
  if [ -z "$outcome" ]; then
    told=$(bearer "$access" |
      call --no-fail --write-out ' %{http_code}' "$DSR_URL/v1/requests/$request/identifiers") || return 1
    case $told in
      *' 200') ;;
      *'"/problems/not-asked"'*' 404' | *'"/problems/identifiers-gone"'*' 410' | *'"/problems/not-found"'*' 404')
        [ -n "$account" ] || return 1
        told= ;; # dsr has no address, or is of release 1, which cannot say: the account has to do
      *) return 1 ;;
    esac
    addresses=$(printf '%s\n' "$told" | values) || return 1
    outcome=$(printf '%s\n' "$addresses" | forget "${account:-$request}" "$account") || return 1
  fi
  keep "$subscribers" || return 1
  { bearer "$access"; printf 'header = "%s"\n' "Content-Type: application/json" "Idempotency-Key: $id-$attempt"; } |
    call --output /dev/null --data "{\"outcome\": \"$outcome\"}" "$DSR_URL/v1/tasks/$id/reply" || return 1
  say "task $id: $outcome"
}

# Do every task, page by page. One that cannot be done now stops no other.
do_tasks() {
  access=$(token dsr) || return 1
  cursor=
  while [ "$cursor" != null ]; do
    tasks=$(bearer "$access" | call "$DSR_URL/v1/tasks${cursor:+?cursor=$cursor}") || return 1
    printf '%s' "$tasks" | tr '{' '\n' | grep '"account"' | while read -r task; do
      do_task "$task" || say "task $(field "$task" id) has to wait"
    done
    cursor=$(field "$tasks" next | grep .) || return 1
  done
}

round() {
  fetch_list || say "the list has to wait"
  rm -f "$DATA_DIR/list" "$DATA_DIR/lines" "$DATA_DIR/head" "$subscribers.new" # of a round that was killed or failed too
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
