# Sourced by ./test and ./demo: what they need beside Rust, and how they speak.

say() { printf '\n\033[1m== %s\033[0m\n' "$*" >&2; }
fail() {
  printf '\n\033[1;31m%s\033[0m\n' "$1" >&2
  [ -z "${2-}" ] || printf '%s\n' "$2" >&2
  exit 1
}

# need COMMAND|/FILE PACKAGE...   remembers the packages when the command or the file is missing
missing_packages=()
missing_things=()
need() {
  local thing=$1
  shift
  case $thing in
    /*) [ ! -e "$thing" ] || return 0 ;;
    *) ! command -v "$thing" >/dev/null 2>&1 || return 0 ;;
  esac
  missing_things+=("$(basename "$thing")")
  missing_packages+=("$@")
}

# Installs what `need` found missing: on Debian and its like as root or by sudo, elsewhere it says what to install.
install_missing() {
  [ ${#missing_packages[@]} -gt 0 ] || return 0
  local list="${missing_packages[*]}" root=()
  if ! command -v apt-get >/dev/null 2>&1; then
    fail "Not installed: ${missing_things[*]}." "Install them with your package manager (on Debian they are the packages $list), then run this again."
  fi
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || fail "Not installed: ${missing_things[*]}." "Run as root: apt-get install --no-install-recommends $list"
    root=(sudo)
  fi
  say "installing $list"
  export DEBIAN_FRONTEND=noninteractive
  "${root[@]}" apt-get update -q || fail "apt-get update failed." "Check the network and /etc/apt/sources.list, then run this again."
  "${root[@]}" apt-get install -q -y --no-install-recommends $list ||
    fail "apt-get could not install $list." "Install them by hand, then run this again."
}

need_rust() {
  command -v cargo >/dev/null 2>&1 || fail "Rust is not installed." "Install it from https://rustup.rs, then run this again."
  need cc build-essential
}

need_node() {
  need node nodejs
  need npm npm
}

# Node 18 is what Debian 12 has.
check_node() {
  local major
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 18 ] || fail "Node $major is too old." "Install Node 18 or newer, then run this again."
}

# npm_ci FOLDER: as the lock file says, once for each lock file
npm_ci() {
  local mark="$1/node_modules/.package-lock.json"
  if [ -e "$mark" ] && [ "$mark" -nt "$1/package-lock.json" ]; then return 0; fi
  say "npm ci in $1"
  (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund) ||
    fail "npm ci failed in $1." "Check that npm reaches its registry (npm ping), then run this again."
}
