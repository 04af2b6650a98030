#!/bin/sh
# Set up what `make demo` (run) or `make test` (dev) needs: virtual environment, packages by hashed locks, Kafka's jars,
# for the tests also the AsyncAPI parser.
# Asks nothing; says first of all what is missing; does nothing when all is there.
set -eu
cd "$(dirname "$0")/.."
kind=${1:?run or dev}
python=.venv/bin/python
stamp=.venv/$kind.stamp

lacking=""
lack() { lacking="$lacking
  - $1"; }

find_python() {
    for name in python3 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
}

find_browser() {
    for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
        if [ -n "$name" ] && command -v "$name"; then return; fi
    done
}

check_prerequisites() {
    if [ ! -x $python ] || ! $python -c '' 2>/dev/null; then
        system=$(find_python)
        if [ -z "$system" ]; then
            lack "Python 3.11 or later. On Debian or Ubuntu: apt-get install python3 python3-venv"
        elif ! "$system" -c 'import ensurepip' 2>/dev/null; then
            lack "Python's venv module. On Debian or Ubuntu: apt-get install python3-venv"
        fi
    fi
    java=${JAVA_HOME:+$JAVA_HOME/bin/}java
    version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || version=""
    if [ "${version:-0}" -lt 17 ]; then
        lack "Java 17 or later${version:+ (found $version)}. On Debian or Ubuntu: apt-get install openjdk-17-jre-headless"
    fi
    command -v mvn >/dev/null || lack "Maven. On Debian or Ubuntu: apt-get install maven"
    command -v curl >/dev/null || lack "curl, which a sample system uses. On Debian or Ubuntu: apt-get install curl"
    if [ "$kind" = dev ] && [ -z "$(find_browser)" ] && { [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; }; then
        lack "Chromium, for the tests of the pages. Set CHROMIUM to one, or on Debian: apt-get install chromium"
    fi
    if [ -n "$lacking" ]; then
        echo "Missing on this machine:$lacking" >&2
        exit 1
    fi
}

wanted() {
    cat local/setup.sh requirements/build.txt "requirements/$kind.txt" $(packages | sed 's:$:/pyproject.toml:') | cksum
}

packages() {
    for file in contracts/pyproject.toml chassis/pyproject.toml services/*/pyproject.toml deploy/*/pyproject.toml \
        local/pyproject.toml examples/company/*/pyproject.toml; do
        dirname "$file"
    done
}

install_packages() {
    if [ "$(cat $stamp 2>/dev/null)" = "$(wanted)" ]; then return; fi
    if [ ! -x $python ] || ! $python -c '' 2>/dev/null; then
        echo "Making the virtual environment .venv"
        "$(find_python)" -m venv --clear .venv
    fi
    if ! .venv/bin/uv --version 2>/dev/null | grep -qF "$(sed -n 's/^uv==\([^ ]*\).*/\1/p' requirements/build.txt)"; then
        echo "Fetching the installer: $(count build) packages, about 18 MB"
        $python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/build.txt
    fi
    size=35
    [ "$kind" = dev ] && size=196
    echo "Fetching $(count "$kind") Python packages, about $size MB unless they are cached"
    .venv/bin/uv pip install --quiet --python $python --system-certs --require-hashes --compile-bytecode -r "requirements/$kind.txt"
    set --
    for package in $(packages); do set -- "$@" -e "./$package"; done
    .venv/bin/uv pip install --quiet --python $python --no-deps --no-build-isolation --offline "$@"
    wanted >$stamp
}

count() { grep -c '^[a-zA-Z]' "requirements/$1.txt"; }

install_browser() {
    if [ "$kind" = dev ] && [ -z "$(find_browser)" ]; then
        echo "Fetching Chromium with apt-get, about 100 MB"
        apt-get install -y -qq --no-install-recommends chromium >/dev/null
    fi
}

fetch_jars() {
    interpreter=$python
    [ -x $python ] || interpreter=$(find_python)
    PYTHONPATH=local/src "$interpreter" -c 'from local_stack.jars import main; main()'
}

# The parser is JavaScript: Node and npm are Python packages of the development lock. Nothing is stamped unless npm ended well.
install_parser() {
    from=contracts/asyncapi
    to=.cache/asyncapi
    if [ "$kind" != dev ] || cmp -s $from/package-lock.json $to/installed; then return; fi
    echo "Fetching the AsyncAPI parser: $(grep -c '"integrity"' $from/package-lock.json) npm packages, about 21 MB"
    mkdir -p $to
    cp $from/package.json $from/package-lock.json $from/.npmrc $to
    NODE_USE_SYSTEM_CA=1 .venv/bin/npm ci --prefix $to --loglevel=error >/dev/null
    cp $from/package-lock.json $to/installed
}

check_prerequisites
install_browser
fetch_jars &
jars=$!
install_packages
install_parser
wait $jars
