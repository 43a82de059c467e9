//! Ways from COMMAND to what the engine holds, and around the engine: one row a way.
//!
//! `guest/attempt.py` prints `OPEN` for a way that is open. `hidden-{id}` is a value that nobody but
//! the engine may see; where a row needs something outside of the sandbox, its wrapper makes it.

use crate::e2e::row::Expect::{Err, Exit, NotOut, NotUpstream, Out, Rejected, Upstream};
use crate::e2e::row::{Only, Row, rejected, row};

/// Puts `hidden-{id}` into `{dir}/started/{id}.d/secret`, which has a symbolic link beside it, and another file, so
/// that the directory is not the secret's own.
const WITH_SECRET_FILE: &[&str] = &[
    "sh",
    "-c",
    "cd {dir}/started && mkdir {id}.d && echo hidden-{id} > {id}.d/secret && ln -s secret {id}.d/link \
     && touch {id}.d/neighbour; \
     exec \"$@\"",
    "sh",
];

const SECRET_FILE: &str = "TOKEN=file:{dir}/started/{id}.d/secret@peer.test";

/// A `/run` and an `/etc` as systemd has them: `/etc/resolv.conf` leads to where resolved's sockets are.
const WITH_RESOLVED: &[&str] = &[
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    "mkdir {dir}/started/{id}.etc && cp -a /etc/. {dir}/started/{id}.etc/ 2>/dev/null; mount -t tmpfs none /run \
     && mkdir -p /run/user/1 /run/dbus /run/systemd/resolve && touch /run/kept /run/user/1/hidden-{id} \
     && echo hidden-{id} > /run/dbus/bus && cp /etc/resolv.conf /run/systemd/resolve/stub.conf && touch /run/systemd/resolve/hidden-{id} \
     && ln -sf ../run/systemd/resolve/stub.conf {dir}/started/{id}.etc/resolv.conf \
     && mount --rbind {dir}/started/{id}.etc /etc && exec \"$@\"",
    "sh",
];

pub(crate) const ROWS: &[Row] = &[
    // The engine's memory, environment and descriptors.
    row(
        "no_process_shows_a_secret",
        &["--secret", "TOKEN=env:SECRET_SOURCE@web.test"],
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/task/*/environ | tr '\\0' '\\n'; \
         echo checked",
        &[Exit(0), Out("TOKEN="), NotOut("real-{id}"), NotOut("SECRET_SOURCE="), Out("checked")],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "process_1_is_closed",
        &["--secret", "TOKEN=env:SECRET_SOURCE@web.test"],
        "python3 {dir}/attempt.py process 1",
        &[Exit(0), NotOut("OPEN"), Out("environ: EACCES"), Out("root/etc: EACCES")],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "process_1_cannot_be_traced",
        &[],
        "python3 {dir}/attempt.py trace 1",
        &[Exit(0), NotOut("OPEN"), Out("attach: EPERM"), Out("process_vm_readv: EPERM")],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "no_descriptor_is_inherited",
        &[],
        "python3 {dir}/attempt.py descriptors; cat /proc/[0-9]*/fd/9; echo checked",
        &[Exit(0), NotOut("OPEN"), NotOut("hidden-"), Out("descriptors read"), Out("checked")],
    )
    .wrapped(&[
        "bash",
        "-c",
        "exec 9<<<hidden-value 199<<<hidden-value; exec \"$@\"",
        "bash",
    ])
    .judged()
    .only(Only::OncePerUser),
    row(
        "engine_is_confined",
        &["-v"],
        "touch {dir}/started/{id}; sleep 2",
        &[
            Exit(0),
            Out("NoNewPrivs:\t1\nSeccomp:\t2"),
            Out("CapEff:\t0000000000000000"),
            NotOut("Seccomp:\t0"),
            Err(&["confinement", "seccomp", "Landlock"]),
        ],
    )
    .wrapped(&[
        "sh",
        "-c",
        "\"$@\" & engine=$!; for tenth in $(seq 100); do test -e {dir}/started/{id} && break; sleep 0.1; done; \
         cat /proc/$engine/task/*/status | grep -E '^(CapEff|NoNewPrivs|Seccomp):'; wait $engine",
        "sh",
    ])
    .judged()
    .only(Only::OncePerUser),
    row(
        "engine_is_closed_to_its_own_user",
        &["--secret", "TOKEN=env:SECRET_SOURCE@web.test"],
        "touch {dir}/started/{id}; sleep 2",
        &[Exit(0), NotOut("OPEN"), Out("environ: EACCES"), Out("mem: EACCES"), Out("attach: EPERM")],
    )
    .wrapped(&[
        "sh",
        "-c",
        "\"$@\" & engine=$!; for tenth in $(seq 100); do test -e {dir}/started/{id} && break; sleep 0.1; done; \
         keeper=$(cat /proc/$engine/task/$engine/children); init=$(cat /proc/$keeper/task/$keeper/children); \
         for process in $engine $keeper $init; do python3 {dir}/attempt.py process $process; \
         python3 {dir}/attempt.py trace $process; done; wait $engine",
        "sh",
    ])
    .judged()
    .only(Only::OrdinaryUser),
    row(
        "confined_engine_follows_resolv_conf",
        &["--allow", "web.test"],
        "touch {dir}/started/{id}; sleep 1; dig @172.16.0.1 +short A web.test",
        &[Exit(0), Out("192.31.196.2")],
    )
    // The file is empty at first, and another file later.
    .wrapped(&[
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        "mkdir {dir}/started/{id}.etc && cp -a /etc/. {dir}/started/{id}.etc/ 2>/dev/null; \
         cp /etc/resolv.conf {dir}/started/{id}.etc/new; : > {dir}/started/{id}.etc/resolv.conf; \
         mount --rbind {dir}/started/{id}.etc /etc; (while ! test -e {dir}/started/{id}; do sleep 0.1; done; \
         mv /etc/new /etc/resolv.conf) & exec \"$@\"",
        "sh",
    ])
    .judged()
    .only(Only::OncePerUser),
    // Files.
    row(
        "secret_file_is_covered",
        &["--secret", SECRET_FILE],
        "cd {dir}/started/{id}.d; cat secret link ./secret {dir}/started/{id}.d/secret \
         /proc/self/cwd/secret /proc/self/root{dir}/started/{id}.d/secret \
         /proc/1/root{dir}/started/{id}.d/secret; ln -s {dir}/started/{id}.d/link new; cat new; ln secret hard; \
         cat hard; cp secret copy; cat copy; mv secret moved; cat moved; rm -f secret; mv ../{id}.d ../{id}.e; \
         cat ../{id}.e/secret; echo written > ../{id}.e/secret; test -e ../{id}.e/secret && echo still there",
        &[Exit(0), NotOut("hidden-{id}"), Out("still there")],
    )
    .wrapped(WITH_SECRET_FILE)
    .judged()
    .only(Only::OncePerUser),
    row(
        "secret_behind_a_link_is_covered",
        &["--secret", "TOKEN=file:{dir}/started/{id}.d/link@peer.test"],
        "cat {dir}/started/{id}.d/link {dir}/started/{id}.d/secret && echo empty",
        &[Exit(0), NotOut("hidden-{id}"), Out("empty")],
    )
    .wrapped(WITH_SECRET_FILE)
    .judged()
    .only(Only::OncePerUser),
    row(
        "directory_of_a_secret_is_hidden",
        &["--secret", SECRET_FILE],
        "cd {dir}/started; ls -lA {id}.d; cat {id}.d/*; echo new > {id}.d/new || echo closed; \
         mv {id}.d {id}.e || echo stays",
        &[Exit(0), NotOut("hidden-{id}"), Out("total 0\n"), Out("closed"), Out("stays")],
    )
    .wrapped(&["sh", "-c", "mkdir {dir}/started/{id}.d; echo hidden-{id} > {dir}/started/{id}.d/secret; exec \"$@\"", "sh"])
    .judged()
    .only(Only::OncePerUser),
    row(
        "covered_secret_is_used",
        &["--allow", "peer.test", "--secret", SECRET_FILE],
        "curl -sS -H \"X-Token: $TOKEN\" https://peer.test/{id}",
        &[Exit(0), Upstream(&["recorder https head", "/{id} ", "X-Token: hidden-{id}"])],
    )
    .wrapped(WITH_SECRET_FILE)
    .judged()
    .only(Only::OncePerUser),
    row(
        "secret_from_a_descriptor_needs_no_cover",
        &["--allow", "peer.test", "--secret", "TOKEN=file:/dev/fd/9@peer.test"],
        "python3 {dir}/attempt.py descriptors; curl -sS -H \"X-Token: $TOKEN\" https://peer.test/{id}",
        &[Exit(0), NotOut("OPEN"), Upstream(&["recorder https head", "/{id} ", "X-Token: hidden-{id}"])],
    )
    .wrapped(&["sh", "-c", "echo hidden-{id} | { exec 9<&0 </dev/null; exec \"$@\"; }", "sh"])
    .judged()
    .only(Only::OncePerUser),
    row(
        "config_with_secrets_is_covered",
        &["--config", "{dir}/started/{id}.toml"],
        "cat {dir}/started/{id}.toml && echo empty",
        &[Exit(0), NotOut("hidden-{id}"), Out("empty")],
    )
    .wrapped(&[
        "sh",
        "-c",
        "printf '[[secrets]]\\nenv = \"TOKEN\"\\nsource = \"cmd:echo hidden-{id}\"\\nhosts = [\"peer.test\"]\\n' \
         > {dir}/started/{id}.toml; exec \"$@\"",
        "sh",
    ])
    .judged()
    .only(Only::OncePerUser),
    rejected(
        "secret_that_cannot_be_covered",
        &["--secret", "TOKEN=file:secret@peer.test"],
        &[Rejected(&["--secret TOKEN", "file:secret", "cannot be covered", "absolute path"])],
    )
    // A directory that no path leads to any more.
    .wrapped(&[
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        "mkdir {dir}/started/{id}.d && mount -t tmpfs none {dir}/started/{id}.d && cd {dir}/started/{id}.d \
         && umount -l {dir}/started/{id}.d && echo hidden > secret && exec \"$@\"",
        "sh",
    ]),
    row(
        "nested_mounts_uncover_nothing",
        &["--secret", SECRET_FILE],
        "python3 {dir}/attempt.py mounts {dir}/started/{id}.d secret",
        &[
            Exit(0),
            NotOut("hidden-{id}"),
            NotOut("OPEN"),
            Out("overlay: EINVAL"),
            Out("/mnt/secret reads b''"),
            Out("new /proc: EPERM"),
        ],
    )
    .wrapped(WITH_SECRET_FILE)
    .judged()
    .only(Only::OncePerUser),
    row(
        "working_directory_shows_no_process_of_the_host",
        &[],
        "test $(ls -d ./[0-9]* | wc -l) -le 5 && echo few",
        &[Exit(0), Out("few")],
    )
    .wrapped(&["sh", "-c", "cd /proc; exec \"$@\"", "sh"])
    .judged()
    .only(Only::OncePerUser),
    // The host's kernel.
    row(
        "kernel_cannot_be_configured",
        &[],
        "python3 {dir}/attempt.py kernel",
        &[Exit(0), NotOut("OPEN"), Out("kernel/core_pattern: "), Out("kernel tried")],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "devices_are_closed",
        &[],
        "python3 {dir}/attempt.py devices",
        &[Exit(0), NotOut("OPEN"), Out("mknod: EPERM"), Out("usual devices work")],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "no_program_gives_capabilities",
        &[],
        "grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs):' /proc/self/status; \
         test \"$({dir}/setuid-id -u)\" = \"$(id -u)\" && echo same",
        &[
            Exit(0),
            Out("CapPrm:\t0000000000000000\nCapEff:\t0000000000000000"),
            Out("NoNewPrivs:\t1"),
            Out("same"),
        ],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "keys_and_rings_are_closed",
        &[],
        "python3 {dir}/attempt.py keys",
        &[Exit(0), NotOut("OPEN"), Out("session keyring: EPERM"), Out("io_uring: EPERM")],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "terminal_cannot_be_typed_into",
        &[],
        "python3 {dir}/attempt.py terminal",
        &[Exit(0), NotOut("OPEN"), Out("type: EPERM")],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "signals_to_the_group_stay_inside",
        &[],
        "kill -9 0",
        &[Exit(0), Out("outside 137")],
    )
    .wrapped(&["setsid", "--wait", "sh", "-c", "\"$@\"; echo outside $?", "sh"])
    .judged()
    .only(Only::OncePerUser),
    row(
        "signals_to_the_group_of_a_terminal_are_refused",
        &[],
        "kill -9 0; kill -CONT 0 && echo inside",
        &[Exit(0), Out("not permitted"), Out("inside"), Out("outside 0")],
    )
    .wrapped(&["python3", "{dir}/attempt.py", "in_terminal", "sh", "-c", "\"$@\"; echo outside $?", "sh"])
    .judged()
    .only(Only::OncePerUser),
    // The environment.
    row(
        "environment_lends_nothing",
        &[],
        "env",
        &[Exit(0), NotOut("lent-{id}"), Out("KEPT=kept-{id}")],
    )
    .wrapped(&[
        "env",
        "KEPT=kept-{id}",
        "SSH_AUTH_SOCK=lent-{id}",
        "GPG_AGENT_INFO=lent-{id}",
        "DBUS_SESSION_BUS_ADDRESS=lent-{id}",
        "DOCKER_HOST=lent-{id}",
        "KRB5CCNAME=lent-{id}",
        "XDG_RUNTIME_DIR=lent-{id}",
        "WAYLAND_DISPLAY=lent-{id}",
        "DISPLAY=lent-{id}",
        "TMUX=lent-{id}",
        "http_proxy=lent-{id}",
        "HTTPS_PROXY=lent-{id}",
    ])
    .judged()
    .only(Only::OncePerUser),
    row(
        "sockets_of_buses_and_resolvers_are_hidden",
        &["--allow", "web.test:80"],
        "ls -A /run/user /run/dbus /run/systemd/resolve; cat /run/dbus/bus; ls -A /run; \
         grep nameserver /etc/resolv.conf; curl -sS http://web.test/hello?{id}",
        &[Exit(0), NotOut("hidden-{id}"), Out("kept"), Out("nameserver 172.16."), Out("hello from nginx")],
    )
    .wrapped(WITH_RESOLVED)
    .judged()
    .only(Only::OncePerUser),
    // Other ways to the network.
    row(
        "sockets_beside_the_stack_are_refused",
        &[],
        "python3 {dir}/attempt.py sockets; unshare -U --keep-caps python3 {dir}/attempt.py sockets",
        &[Exit(0), NotOut("OPEN"), Out("raw: EPERM"), Out("packet: EPERM"), Out("vsock: EPERM")],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "namespaces_of_others_are_closed",
        &[],
        "for kind in -U -n -m -p -i; do nsenter -t 1 $kind true && echo OPEN $kind; done; \
         python3 {dir}/attempt.py namespaces {dir}",
        &[
            Exit(0),
            NotOut("OPEN"),
            Out("parent of the user namespace: EPERM"),
            Out("owner, from a nested namespace: EPERM"),
            Out("network, from a nested namespace: EPERM"),
        ],
    )
    .judged(),
    row(
        "nested_network_namespace_leads_nowhere",
        &["--allow", "public"],
        "unshare -U -n --keep-caps sh -c 'ip link set lo up; ip -o link; ip link set eth0 netns 1; \
         curl -sS -m 3 http://192.31.196.2/{id}' 2>&1; \
         sleep 3 & unshare -U --keep-caps ip link set eth0 netns $! && echo MOVED; \
         curl -sS http://192.31.196.2/hello?still-{id}",
        &[Exit(0), NotUpstream("/{id}"), NotOut("MOVED"), Out("hello from nginx"), Upstream(&["still-{id}"])],
    )
    .judged(),
    row(
        "interface_addresses_and_routes_stay",
        &["--allow", "public"],
        "look() { ip -o address show scope global; ip route; ip -6 route show default; cat /sys/class/net/eth0/address \
         /sys/class/net/eth0/mtu; }; look > /tmp/{id}.before; \
         for change in 'address add 10.0.0.9/24 dev eth0' 'address flush dev eth0' 'route del default' \
         'route add 10.1.0.0/16 dev eth0' '-6 route del default' 'link set eth0 down' 'link set eth0 mtu 1400' \
         'link set eth0 address 02:00:00:00:00:09' 'link set eth0 promisc on' 'link add dummy9 type dummy' \
         'neigh add 172.16.0.9 lladdr 02:00:00:00:00:09 dev eth0' 'rule add from all table 9'; \
         do ip $change && echo \"CHANGED $change\"; \
         unshare -U --keep-caps ip $change && echo \"CHANGED nested $change\"; done; \
         look > /tmp/{id}.after; \
         cmp /tmp/{id}.before /tmp/{id}.after && echo same; rm /tmp/{id}.before /tmp/{id}.after; \
         curl -sS http://192.31.196.2/hello?{id}",
        &[Exit(0), NotOut("CHANGED"), Out("same"), Out("hello from nginx"), Err(&["Operation not permitted"])],
    )
    .judged(),
    row(
        "abstract_sockets_of_the_host_are_closed",
        &[],
        "python3 {dir}/attempt.py knock {id}",
        &[Exit(0), Out("outside\nabstract socket: OPEN b'hello'\ninside\nabstract socket: ECONNREFUSED")],
    )
    .wrapped(&[
        "sh",
        "-c",
        "python3 {dir}/attempt.py listen {id} > {dir}/started/{id}.listen & server=$!; \
         for tenth in $(seq 100); do test -s {dir}/started/{id}.listen && break; sleep 0.1; done; \
         echo outside; python3 {dir}/attempt.py knock {id}; echo inside; \"$@\"; status=$?; \
         kill $server; exit $status",
        "sh",
    ])
    .judged()
    .only(Only::OncePerUser),
    // What is left when something is killed.
    row(
        "killing_everything_in_sight_leaves_the_engine",
        &["--allow", "public"],
        "kill -9 1; kill -9 -1; curl -sS http://192.31.196.2/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["GET /hello?{id} "])],
    )
    .judged(),
    row(
        "nothing_outlives_the_command",
        &["--allow", "public"],
        "setsid sh -c 'trap \"\" HUP TERM; touch {dir}/started/{id}; sleep 2; touch {dir}/started/{id}.late; \
         curl -sS http://192.31.196.2/hello?{id}' & \
         while ! test -e {dir}/started/{id}; do sleep 0.1; done",
        &[Exit(0), Out("gone"), NotUpstream("{id}")],
    )
    .wrapped(&[
        "sh",
        "-c",
        "\"$@\"; status=$?; sleep 3; test -e {dir}/started/{id}.late || echo gone; exit $status",
        "sh",
    ])
    .judged()
    .patient(),
    row(
        "killed_engine_takes_the_command_along",
        &["--allow", "public"],
        "trap '' HUP TERM; touch {dir}/started/{id}; sleep 2; touch {dir}/started/{id}.late; \
         curl -sS http://192.31.196.2/hello?{id}",
        &[Exit(0), Out("gone"), NotUpstream("{id}")],
    )
    .wrapped(&[
        "sh",
        "-c",
        "\"$@\" & engine=$!; while ! test -e {dir}/started/{id}; do sleep 0.1; done; kill -9 $engine; sleep 3; \
         test -e {dir}/started/{id}.late || echo gone",
        "sh",
    ])
    .judged()
    .patient(),
    row(
        "killed_keeper_takes_the_command_along",
        &["--allow", "public"],
        "trap '' HUP TERM; touch {dir}/started/{id}; sleep 2; touch {dir}/started/{id}.late; \
         curl -sS http://192.31.196.2/hello?{id}",
        &[Exit(137), Out("gone"), NotUpstream("{id}")],
    )
    .wrapped(&[
        "sh",
        "-c",
        "\"$@\" & engine=$!; while ! test -e {dir}/started/{id}; do sleep 0.1; done; \
         kill -9 $(cat /proc/$engine/task/$engine/children); wait $engine; status=$?; sleep 3; \
         test -e {dir}/started/{id}.late || echo gone; exit $status",
        "sh",
    ])
    .judged()
    .patient(),
];
