//! The servers' certificate, its authority, nginx that has it too, and what engines are told of secrets.

use anyhow::Result;

use crate::bench_engine::network::{Network, SERVERS};
use crate::load::{FLOOD, HTTP2_PORT, TLS_AUTHORITY, TLS_NAME};

/// Gone with the namespaces.
pub(crate) const DIR: &str = "/tmp/tls";

/// Whom upstream's clients must trust.
pub(crate) const AUTHORITY: &str = "/tmp/tls/ca.pem";

pub(crate) const LEAF: &str = "/tmp/tls/leaf.pem";
pub(crate) const LEAF_KEY: &str = "/tmp/tls/leaf.key";
pub(crate) const NGINX_CONF: &str = "/tmp/tls/nginx.conf";

/// What [`System::OursSecrets`](super::System::OursSecrets) is told.
pub(crate) const SECRETS_CONF: &str = "/tmp/tls/secrets.toml";

/// How many secrets that names.
const SECRETS: usize = 10;

/// Makes all of it, by the `openssl` program: P-256, as the leaves of interception.
pub(crate) fn make(network: &Network) -> Result<()> {
    let addresses: String = SERVERS.iter().map(|address| format!(",IP:{address}")).collect();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {DIR}/{kind}; "))
        .collect();
    let secrets: String = (0..SECRETS)
        .map(|number| {
            format!(
                "[[secrets]]\nenv = \"KEY_{number}\"\nsource = \"dangerous-value:the-real-value-{number}\"\n\
                 hosts = [\"{TLS_NAME}\"]\nusage = {{ places = [\"headers\", \"body\"] }}\n"
            )
        })
        .collect();
    network.host.script(&format!(
        "mkdir -p {DIR}
         openssl req -x509 {key} -keyout {DIR}/ca.key -out {AUTHORITY} -days 30 -subj \"/CN={TLS_AUTHORITY}\" \
             -addext keyUsage=critical,keyCertSign,cRLSign
         openssl req -x509 -CA {AUTHORITY} -CAkey {DIR}/ca.key {key} -keyout {LEAF_KEY} -out {LEAF} -days 30 \
             -subj /CN={TLS_NAME} -addext basicConstraints=critical,CA:FALSE \
             -addext extendedKeyUsage=serverAuth \
             -addext 'subjectAltName=DNS:{TLS_NAME},DNS:*.{FLOOD}{addresses}'
         cat > {NGINX_CONF} <<END
             daemon off; master_process off; pid {DIR}/nginx.pid; error_log {DIR}/nginx.log crit;
             events {{ worker_connections 4096; }}
             http {{
                 access_log off; {temporary}
                 keepalive_requests 1000000000;
                 ssl_certificate {LEAF}; ssl_certificate_key {LEAF_KEY};
                 server {{
                     listen {server}:{HTTP2_PORT} ssl http2;
                     location / {{ default_type text/plain; return 200 'a body of thirty-two bytes, all.'; }}
                 }}
             }}
END
         cat > {SECRETS_CONF} <<END
{secrets}
END",
        server = SERVERS[0],
    ))
}
