# Headless Chromium with default settings; prints the page, or its own word for what is wrong.
#
# usage: chromium.sh HOME CERTIFICATE URL
#
# It trusts the authority of the run and, as its user's own, that of CERTIFICATE.

mkdir -p "$1/.pki/nssdb" && export HOME="$1" || exit
certutil -d "sql:$HOME/.pki/nssdb" -A -t C,, -n net-engine -i "$NET_ENGINE_CA_CERT" || exit
certutil -d "sql:$HOME/.pki/nssdb" -A -t C,, -n upstream -i "$2" || exit
# Its own sandbox needs capabilities that the command has not.
chromium --headless --no-sandbox --dump-dom "$3" 2> "$HOME/said"
if grep -o 'net::ERR_[A-Z_]*' "$HOME/said"; then exit 1; fi
