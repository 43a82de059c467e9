//! What package managers are given: a package for each, and a repository of git.

use anyhow::Result;

use crate::e2e::need::{Need, Needs};
use crate::e2e::scratch::Scratch;
use crate::process;
use crate::space::clean;

/// What nginx hands to git's own server.
const BACKEND: &str = "git-http-backend";

/// Makes what is served below `www`.
pub(crate) fn make(scratch: &Scratch, needs: &Needs) -> Result<()> {
    let script = scratch.path("packages.py");
    let www = scratch.path("www");
    process::run(clean("python3").arg(script).arg(&www).arg("https://web.test"))?;
    if needs.has(Need::Git) {
        let repository = "set -e; git init --quiet --initial-branch main tiny; cd tiny; \
             echo 'hello from a repository' > hello; git add hello; \
             git -c user.name=a -c user.email=a@a.test commit --quiet --message one; cd ..; \
             git clone --quiet --bare tiny tiny.git; rm -r tiny";
        process::run(clean("sh").current_dir(&www).args(["-c", repository]))?;
    }
    Ok(())
}

/// What nginx does with requests for repositories: a directive of the location that has their paths.
pub(crate) fn git_location(dir: &str, needs: &Needs) -> Result<String> {
    if !needs.has(Need::Git) {
        return Ok("return 404;".to_owned());
    }
    let programs = process::output(clean("git").arg("--exec-path"))?;
    let parameters = [
        ("SCRIPT_FILENAME", &*format!("{}/{BACKEND}", programs.trim())),
        ("GIT_PROJECT_ROOT", &format!("{dir}/www")),
        ("GIT_HTTP_EXPORT_ALL", "1"),
        ("GIT_PROTOCOL", "$http_git_protocol"),
        ("PATH_INFO", "$uri"),
        ("QUERY_STRING", "$query_string"),
        ("REQUEST_METHOD", "$request_method"),
        ("CONTENT_TYPE", "$content_type"),
        ("CONTENT_LENGTH", "$content_length"),
        ("HTTP_CONTENT_ENCODING", "$http_content_encoding"),
        ("REMOTE_ADDR", "$remote_addr"),
    ];
    let parameters = parameters.map(|(name, value)| format!("fastcgi_param {name} {value};")).concat();
    Ok(format!("{parameters} fastcgi_pass unix:{dir}/nginx/git.sock;"))
}
