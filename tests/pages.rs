//! What a page tells somebody to do is done here, as it stands, on a host that has the fault; and the fault is gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::playbooks::commands;
use crate::proof::{bare_host, configuration};
use crate::support::host::Host;

/// Pages whose commands are not run here, and why.
const NOT_RUN: [(&str, &str); 9] = [
    ("alert-bucket", OWN_QUEUE),
    ("alert-heartbeat", OWN_QUEUE),
    ("alert-intake", OWN_QUEUE),
    ("alert-jobs-stalled", OWN_QUEUE),
    ("alert-lane-trouble", OWN_QUEUE),
    ("alert-no-capable-worker", OWN_QUEUE),
    ("alert-quarantine-growing", OWN_QUEUE),
    ("alert-worker-silent", OWN_QUEUE),
    ("look-only-type", "it takes a server of NFS"),
];
/// Their commands are run in the tests of the verbs and of the runner.
const OWN_QUEUE: &str = "this host has the queue of another worker";

/// The `nth` block of commands in the `Do` of a page.
fn block(page: &str, nth: usize) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks").join(format!("{page}.md"));
    let text = fs::read_to_string(path).unwrap();
    let part = text.split_once("\n## Do\n").unwrap().1.split("\n## ").next().unwrap();
    let blocks: Vec<&str> =
        part.split("```sh\n").skip(1).map(|it| it.split("```").next().unwrap()).collect();
    blocks.get(nth).unwrap_or_else(|| panic!("{page} has no block {nth}")).to_string()
}

/// The host of TUTORIAL.md, armed, with the units and paths that the pages call by name.
fn furnish(host: &Host) {
    bare_host(host);
    // it is restarted here more often than in a bad night
    host.ok("sed -i 's/^\\[Unit\\]/[Unit]\\nStartLimitIntervalSec=0/' /etc/systemd/system/storagebox.service; systemctl daemon-reload");
    let eager = configuration()
        .replace("[mounts]\n", "[mounts]\nbudget = { cooldown = \"0s\", per_hour = 100, per_day = 100, per_target_per_day = 100 }\n\
            confirm = { hung = { runs = 1, age = \"0s\" }, absent = { runs = 1, age = \"0s\" }, pinned = { runs = 1, age = \"0s\" }, stacked = { runs = 1, age = \"0s\" }, transient = { runs = 1, age = \"0s\" } }\n")
        .replace("verify = \"1s\"\n", "verify = \"300ms\"\nfree_mib_min = 0\nfree_inodes_min = 0\nbudget = { cooldown = \"0s\", per_day = 100 }\n")
        + "[probe]\ntimeout = \"500ms\"\ndaemons = \"here\"\n[binds]\nmanifest = \"/etc/unwedge/binds\"\n";
    host.put("/etc/unwedge/unwedge.toml", eager.as_bytes(), "644");
    host.put("/etc/unwedge/binds", b"", "644");
    host.put("/etc/unwedge/ntfy.url", b"http://127.0.0.1:1/ntfy\n", "640");
    // the timers stay off: nothing is mended but by the page
    host.ok("/opt/unwedge/unwedge install; chown root:unwedge /etc/unwedge/ntfy.url; systemctl start example-worker
        unwedge-mounts --apply >/dev/null; unwedge-worker --apply >/dev/null
        for kind in mounts binds worker; do unwedge sentinel arm $kind >/dev/null; done
        unwedge sentinel arm notify --because test >/dev/null; unwedge-mounts --apply >/dev/null
        until systemctl is-active -q example-worker; do sleep 0.1; done; cat /srv/jobs/a/x 2>/dev/null || :");
}

const LIVE: &str = "timeout 5 ls /srv/storagebox >/dev/null && grep -q ' /srv/storagebox fuse.sshfs\\| /srv/storagebox .* fuse.sshfs' /proc/self/mountinfo \
    && ! unwedge-mounts | grep -Eq ' (dead|hung|absent|pinned) '";
const WORKS: &str = "systemctl is-active -q example-worker";
const KILLED: &str =
    "kill -KILL $(main_pid); until ! pgrep -x sshfs >/dev/null; do sleep 0.05; done";
const JOB: &str = "python3 -c \"import sqlite3; db = sqlite3.connect('/var/lib/app/queue.db', timeout=5); db.execute('DELETE FROM jobs'); \
    db.execute('INSERT INTO jobs (id, status, dir) VALUES (1, ?, ?)', ('queued', '/srv/jobs/a/1')); db.commit()\"";
const DOWN: &str = "until systemctl show -P ActiveState example-worker | grep -Eqx 'inactive|failed'; do sleep 0.05; done";

host_test! {
    fn what_a_page_says_to_do_mends_what_it_is_about(host, needs "/usr/bin/python3") {
        furnish(&host);
        let dir = "/var/lib/prometheus/node-exporter";
        let timer_off = "systemctl disable --quiet --now unwedge-mounts.timer";
        let timer_on = "systemctl is-active -q unwedge-mounts.timer && systemctl is-enabled -q unwedge-mounts.timer; systemctl disable --quiet --now unwedge-mounts.timer";
        let halt = "echo stop >/etc/unwedge/sentinels/HALT";
        let no_halt = "test ! -e /etc/unwedge/sentinels/HALT";
        let crashed = format!("touch /run/fails; {JOB}; for i in $(seq 8); do systemctl restart example-worker 2>/dev/null || break; sleep 0.2; done; {DOWN}; rm /run/fails");
        let worker_killed = format!("{JOB}; systemctl reset-failed example-worker; systemctl start example-worker; systemctl kill -s KILL example-worker; {DOWN}");
        let rows: Vec<(&str, usize, String, String)> = [
            ("halted", 0, halt, no_halt),
            ("alert-halt-forgotten", 0, halt, no_halt),
            ("alert-halt-with-debt", 0, halt, no_halt),
            ("alert-canary-failed", 1, ":", "test -e /etc/unwedge/sentinels/HALT; rm /etc/unwedge/sentinels/HALT"),
            ("alert-canary-failed", 0, "unwedge install --enable canary >/dev/null 2>&1 || :", "grep -qx 'unwedge_canary_ok 1' /var/lib/prometheus/node-exporter/unwedge_canary.prom"),
            ("on-hold", 0, "unwedge hold set mounts --for 1h --because test", "unwedge hold list | grep -q 'nothing is on hold'"),
            ("alert-hold-forgotten", 0, "unwedge hold set mounts --for 1h --because test", "unwedge hold list | grep -q 'nothing is on hold'"),
            ("on-hold", 1, ":", "unwedge hold list | grep -q 'storage server is being moved'; unwedge hold clear mounts"),
            ("alert-hold-forgotten", 1, ":", "test ! -e /etc/unwedge/sentinels/mounts; unwedge sentinel arm mounts"),
            ("alert-halt-forgotten", 1, ":", "unwedge hold list | grep -q mounts; unwedge hold clear mounts"),
            ("identity-changed", 0, ":", "unwedge hold list | grep -q 'somebody else is repairing'; unwedge hold clear mounts"),
            ("not-armed", 0, "unwedge sentinel disarm mounts", "! unwedge-mounts --json | grep -q not-armed"),
            ("not-armed", 1, "chmod 666 /etc/unwedge/sentinels/mounts; unwedge-mounts --json | grep -q not-armed", "! unwedge-mounts --json | grep -q not-armed"),
            ("state-unreadable", 0, "echo x >>/var/lib/unwedge/mounts.json; ! unwedge-mounts --apply", "unwedge-mounts --apply; ls /var/lib/unwedge/mounts.json.*"),
            ("alert-state-unreadable", 0, "echo x >>/var/lib/unwedge/mounts.json; ! unwedge-mounts --apply", "unwedge-mounts --apply"),
            ("alert-clock-fault", 0, "echo x >>/var/lib/unwedge/mounts.json", "unwedge-mounts --apply"),
            ("alert-metrics-not-writable", 0, "chmod 755 DIR; chown root:root DIR", "test \"$(stat -c '%U %G %a' DIR)\" = 'root unwedge 3775'"),
            ("alert-metrics-not-writable", 1, "echo broken >DIR/other.prom", "test ! -e DIR/other.prom -a -e /root/other.prom"),
            ("alert-tool-stale", 0, timer_off, timer_on),
            ("alert-tool-absent", 0, timer_off, timer_on),
            ("alert-checks-failed", 0, timer_off, timer_on),
            ("alert-tool-stale", 1, "touch DIR/unwedge_watch.prom", "test ! -e DIR/unwedge_watch.prom"),
("bad-bind", 0, "chmod 666 /etc/unwedge/binds; (unwedge-mounts --json || :) | grep -q bad-bind", "! unwedge-mounts --json | grep -q bad-bind"),
            ("verdict-dead", 0, KILLED, LIVE),
            ("alert-storage-unrecovered", 0, KILLED, LIVE),
            ("alert-repair-failing", 0, KILLED, LIVE),
            ("not-confirmed", 0, KILLED, LIVE),
            ("verdict-hung", 0, "kill -STOP $(server_pid); (timeout 30 ls /srv/storagebox >/dev/null 2>&1 &)", LIVE),
            ("verdict-pinned", 0, "systemctl restart storagebox; await_data", LIVE),
            ("verdict-transient", 0, "kill -KILL $(main_pid); until ! pgrep -x sshfs >/dev/null; do sleep 0.05; done; umount -l /srv/jobs/a; umount -q -l /srv/storagebox; (unwedge faultfs --background --fstype fuse.sshfs --source lab:/srv/remote \
                --mode errno:5 /srv/storagebox >/dev/null </dev/null 2>&1 &); until (timeout 5 unwedge-mounts || :) | grep -q transient; do sleep 0.1; done", LIVE),
            ("verdict-child-of-dead", 0, "mkdir -p /etc/unwedge/conf.d /srv/remote/inner; printf '[[mount]]\\npath = \"/srv/storagebox/inner\"\\n' >/etc/unwedge/conf.d/inner.toml; \
                mount --bind /srv/storagebox /srv/storagebox/inner; kill -KILL $(main_pid); until ! pgrep -x sshfs >/dev/null; do sleep 0.05; done; (unwedge-mounts || :) | grep -q child-of-dead",
                "rm -f /etc/unwedge/conf.d/inner.toml; unwedge mounts forget /srv/storagebox/inner >/dev/null || :; unwedge-mounts --apply >/dev/null; timeout 5 ls /srv/storagebox >/dev/null; ! unwedge-mounts | grep -Eq ' (dead|hung|absent|pinned) '"),
            ("still-pinned", 0, "umount -l /srv/jobs/a; mkdir -p /srv/else; mount --bind /srv/else /srv/jobs/a", "test -e /srv/jobs/a/x -o -d /srv/jobs/a; (! grep -q '/srv/else /srv/jobs/a' /proc/self/mountinfo); unwedge-mounts --apply"),
            ("abort-unavailable", 0, "umount /sys/fs/fuse/connections", "grep -q ' /sys/fs/fuse/connections ' /proc/self/mountinfo"),
            ("abort-unavailable", 1, "mkdir -p /etc/systemd/system/storagebox.service.d; printf '[Service]\\nTimeoutStopSec=1\\n' >/etc/systemd/system/storagebox.service.d/x.conf; systemctl daemon-reload; \
                kill -STOP $(server_pid); (timeout -s KILL 60 ls /srv/storagebox >/dev/null 2>&1; echo freed >/run/freed) >/dev/null 2>&1 & sleep 0.3",
                "test -e /run/freed; unwedge-mounts --apply; rm /run/freed /etc/systemd/system/storagebox.service.d/x.conf; systemctl daemon-reload"),
            ("alert-files-below-mount", 0, "umount -l /srv/jobs/a; systemctl stop storagebox; umount -q -l /srv/storagebox || :; echo kept >/srv/storagebox/below; systemctl start storagebox; await_data",
                "test \"$(cat /srv/storagebox/below)\" = kept; rm /srv/storagebox/below; unwedge hold clear mounts; systemctl start storagebox; await_data; unwedge-mounts --apply; systemctl start example-worker"),
            ("alert-files-below-mount", 1, ":", "lsattr -d /srv/jobs/a /srv/storagebox 2>/dev/null | grep -q i || umount /srv/jobs/a; unwedge binds guard --undo; unwedge-mounts --apply"),
            ("verdict-stacked", 0, "mount --bind /srv/storagebox /srv/storagebox; test $(grep -c ' /srv/storagebox ' /proc/self/mountinfo) = 2", "test $(grep -c ' /srv/storagebox ' /proc/self/mountinfo) = 1"),
            ("verdict-absent", 0, "umount -l /srv/jobs/a; systemctl stop storagebox; umount -q -l /srv/storagebox || :", "await_data; unwedge-mounts --apply"),
            ("cooling-down", 0, "umount -l /srv/jobs/a; systemctl stop storagebox; umount -q -l /srv/storagebox || :", "await_data; unwedge-mounts --apply"),
            ("unit-not-found", 0, "umount -l /srv/jobs/a; systemctl stop storagebox; umount -q -l /srv/storagebox || :", "await_data; unwedge-mounts --apply"),
            ("alert-repair-failing", 1, "umount -l /srv/jobs/a; systemctl stop storagebox; umount -q -l /srv/storagebox || :", "await_data; unwedge-mounts --apply"),
            ("unit-stopped-by-operator", 0, "umount -l /srv/jobs/a; systemctl disable --quiet --now storagebox; umount -q -l /srv/storagebox || :", "await_data; systemctl is-enabled -q storagebox; unwedge-mounts --apply"),
            ("not-a-mount-point", 0, "umount -l /srv/jobs/a; systemctl stop storagebox; umount -q -l /srv/storagebox || :; rmdir /srv/storagebox; echo data >/srv/storagebox", "await_data; test \"$(cat /srv/storagebox.kept)\" = data; rm /srv/storagebox.kept; unwedge-mounts --apply"),
            ("hides-data", 0, "systemctl stop example-worker; umount -l /srv/jobs/a; echo data >/srv/jobs/a/f; (unwedge-mounts --json || :) | grep -q hides-data",
                "test \"$(cat /srv/jobs-found-a/f)\" = data; rm -r /srv/jobs-found-a; grep -q ' /srv/jobs/a ' /proc/self/mountinfo; systemctl start example-worker"),
            ("crash-looping", 0, &crashed, WORKS),
            ("alert-worker-crash-looping", 0, &crashed, "unwedge-worker --apply; systemctl is-active -q example-worker"),
            ("alert-worker-down", 0, &worker_killed, WORKS),
            ("alert-worker-down", 1, &worker_killed, WORKS),
            ("alert-debt-overdue", 1, &worker_killed, WORKS),
            ("alert-queue-unreadable", 1, &worker_killed, WORKS),
            ("alert-worker-crash-looping", 1, &worker_killed, WORKS),
            ("worker-stopped-by-operator", 0, "systemctl disable --quiet --now example-worker", "systemctl is-enabled -q example-worker; systemctl is-active -q example-worker"),
            ("worker-stopped-by-operator", 1, ":", "unwedge hold list | grep -q 'database upgrade'; unwedge hold clear worker"),
            ("alert-jobs-not-taken", 0, "main_pid example-worker >/run/before", "test $(main_pid example-worker) != $(cat /run/before)"),
            ("alert-message-undelivered", 0, "chmod 644 /etc/unwedge/ntfy.url; (unwedge-notify --test 2>&1 || :) | grep -q 'everybody may read it'", "! unwedge-notify --test 2>&1 | grep -q 'everybody may read it'"),
            ("alert-queue-unreadable", 0, "echo x >/etc/unwedge/queue.url; chmod 600 /etc/unwedge/queue.url", "su -s /bin/cat unwedge /etc/unwedge/queue.url"),
            ("queue-unknown", 0, "chmod 600 /etc/unwedge/queue.url; chown root:root /etc/unwedge/queue.url", "su -s /bin/cat unwedge /etc/unwedge/queue.url"),
            ("busy", 0, "printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/flock --no-fork /run/unwedge/mounts.lock /bin/sleep 60\\n' >/run/busy.conf; \
                install -D /run/busy.conf /etc/systemd/system/unwedge-mounts.service.d/x.conf; systemctl daemon-reload; systemctl start --no-block unwedge-mounts; \
                until unwedge-mounts --apply 2>&1 | grep -q busy; do sleep 0.1; done",
                "(! unwedge-mounts --apply 2>&1 | grep -q busy); rm /etc/systemd/system/unwedge-mounts.service.d/x.conf; systemctl daemon-reload"),
            ("foreign-namespace", 0, "systemctl stop unwedge-mounts; rm -f DIR/unwedge_mounts.prom", "test -e DIR/unwedge_mounts.prom"),
            ("clock-fault", 1, "echo x >>/var/lib/unwedge/mounts.json", "unwedge-mounts --apply"),
            ("disk-full", 0, ":", ":"),
            ("nothing-pending", 0, ":", ":"),
            ("outside-roots", 0, ":", ":"),
            ("over-daily-cap", 0, ":", ":"),
            ("over-hourly-cap", 0, ":", ":"),
            ("over-target-cap", 0, ":", ":"),
            ("shared-superblock", 0, ":", ":"),
            ("alert-jobs-not-taken", 1, ":", ":"),
            ("verdict-wrong-source", 0, ":", ":"),
            ("worker-active", 0, ":", ":"),
        ].into_iter().map(|(page, nth, fault, mended)| (page, nth, fault.replace("DIR", dir), mended.replace("DIR", dir))).collect();
        let mut run = BTreeSet::new();
        let mut wrong = Vec::new();
        for (page, nth, fault, mended) in &rows {
            let made = host.bash(&format!("{fault}\n:"));
            let said = host.bash(&format!("set +e; {}", block(page, *nth)));
            let start = std::time::Instant::now();
            let mended = loop {
                if host.bash(&format!("set -e; {mended}")).code == Some(0) {
                    break true;
                }
                if start.elapsed().as_secs() > 10 {
                    break false;
                }
            };
            if made.code != Some(0) || !mended {
                let now = host.bash("unwedge-mounts; ls /srv/storagebox");
                wrong.push(format!("{page}, block {nth}: the fault {made:?}, the page {said:?}, mended {mended}, now {now:?}"));
            }
            run.insert((*page).to_owned());
        }
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n\n"), host.story());
        // whoever adds commands to a page adds the fault, or says why not
        let mut forgotten = Vec::new();
        let pages = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks")).unwrap();
        for page in pages {
            let name = page.unwrap().file_name().to_string_lossy().trim_end_matches(".md").to_owned();
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("playbooks/{name}.md"))).unwrap();
            let Some((_, part)) = text.split_once("\n## Do\n") else { continue };
            let has = !commands(part.split("\n## ").next().unwrap()).is_empty();
            let excused = NOT_RUN.iter().any(|(page, _)| *page == name);
            if has && !run.contains(&name) && !excused {
                forgotten.push(name);
            }
        }
        assert!(forgotten.is_empty(), "whose commands are run by nobody: {forgotten:?}");
    }
}
