//! `unwedge-runner.service` as it ships, on a throw-away host with a real systemd: jobs in cgroups of their own, a
//! runner that hangs, is asked to end, is told of new types, loses its database, and storage that dies under its queue.

use std::time::Duration;

use serde_json::Value;

use crate::support::host::{BASE, Host, listed, program, shipped};

const TEXTFILES: &str = "/var/lib/prometheus/node-exporter";

/// The program, its unit, the service user, a queue in a file, and types.
pub fn furnish(host: &Host, types: &[(&str, &str)], jobs: &str) {
    for name in ["unwedge-runner", "unwedge-jobs"] {
        host.put(&format!("/usr/bin/{name}"), &program(name), "755");
    }
    for (name, place) in [
        ("unwedge-runner.service", "/etc/systemd/system/unwedge-runner.service"),
        ("unwedge.sysusers.conf", "/usr/lib/sysusers.d/unwedge.conf"),
        ("unwedge.tmpfiles.conf", "/usr/lib/tmpfiles.d/unwedge.conf"),
    ] {
        host.put(place, &shipped(name), "644");
    }
    // the usual times, but for what a test would wait for
    let quick = b"[Service]\nRestartSec=1\n";
    host.put("/etc/systemd/system/unwedge-runner.service.d/quick.conf", quick, "644");
    configure(host, jobs, "");
    host.ok(&format!(
        "systemd-sysusers /usr/lib/sysusers.d/unwedge.conf 2>/dev/null
         mkdir -p {TEXTFILES} /srv/in; systemd-tmpfiles --create /usr/lib/tmpfiles.d/unwedge.conf
         install -d -o unwedge /srv/out; systemctl daemon-reload"
    ));
    for (name, text) in types {
        kind(host, name, text);
    }
}

/// The same with a server.
pub fn furnish_with_postgres(host: &Host, types: &[(&str, &str)], jobs: &str) {
    crate::queue_host::furnish(host);
    furnish(host, types, jobs);
    let queue =
        "[queue]\nurl_file = \"/etc/unwedge/queue.url\"\nadapter = \"unwedge\"\ntimeout = \"2s\"\n";
    configure(host, jobs, queue);
    host.ok("setpriv --reuid=postgres --regid=postgres --init-groups -- psql -qAtX -h /run/pg app -c 'GRANT CREATE ON SCHEMA public TO unwedge'");
}

fn configure(host: &Host, jobs: &str, more: &str) {
    let text = format!(
        "[host]\ntextfile_dir = \"{TEXTFILES}\"\n[probe]\ndaemons = \"here\"\n[jobs]\nbeat = \"1s\"\nsweep = \"1s\"\n\
         grace = \"1s\"\n{jobs}\n{more}\n"
    );
    host.put("/etc/unwedge/unwedge.toml", text.as_bytes(), "644");
}

/// The queue that a host has by itself, with more said of it.
fn own_queue(more: &str) -> String {
    format!(
        "[queue]\nurl = \"sqlite:///var/lib/unwedge/queue/queue.db\"\nadapter = \"unwedge\"\n{more}\n"
    )
}

fn kind(host: &Host, name: &str, text: &str) {
    host.put(&format!("/etc/unwedge/jobs.d/{name}.toml"), text.as_bytes(), "644");
}

/// A type whose jobs are this script, with the input as `$1` and the output as `$2`.
pub fn script(more: &str, text: &str) -> String {
    format!(
        "output = \"/srv/out/{{name}}\"\n{more}\n[[tier]]\nargv = [\"/bin/bash\", \"-c\", '''{text}''', \"job\", \"{{input}}\", \"{{output}}\"]\n"
    )
}

fn job(host: &Host, id: u64) -> Value {
    let said = host.ok(&format!("cd /; unwedge --json jobs show {id}"));
    serde_json::from_str::<Value>(&said).unwrap()["job"].clone()
}

/// Forks twice, leaves the session, hears no request to end, and stays.
const CLINGS: &str = "trap \"\" TERM HUP INT; (setsid sleep 4321 & sleep 4321 &); setsid bash -c \"trap \\\"\\\" TERM; sleep 4321; :\" & ";

host_test! {
    fn each_job_has_a_cgroup_and_an_environment_of_its_own_and_nothing_of_it_is_left(host) {
        let tells = "cat /proc/self/cgroup; env; id -un; echo 1/2 half >&$UNWEDGE_PROGRESS_FD";
        furnish(&host, &[
            ("tells", &script("", &format!("{{ {tells}; }} >$2; echo said; {CLINGS} exit 0"))),
            ("greedy", &script("memory_mib = 32\n[retry]\nattempts = 1\n", "x=$(head -c 200000000 /dev/zero | tr \"\\0\" x); echo ${#x} >$2")),
        ], "");
        host.ok("systemctl start unwedge-runner; echo x >/srv/in/a");
        host.ok(&format!("test $(systemctl is-active unwedge-runner) = active; grep -qx 'unwedge_runner_queue_reachable 1' {TEXTFILES}/unwedge_runner.prom"));
        let said = host.ok("cd /srv/in; unwedge jobs submit --require-capable --wait tells a");
        assert!(said.starts_with("job 1: done by 1 -> /srv/out/a\n1 put in, 0 known before"), "{said}");
        let told = host.ok("cat /srv/out/a");
        assert!(told.contains("/unwedge-runner.service/job-1-1/work\n"), "{told}");
        for line in ["UNWEDGE_JOB=1", "UNWEDGE_TRY=1", "UNWEDGE_TYPE=tells", "UNWEDGE_VERSION=0.1.0"] {
            assert!(told.lines().any(|it| it == line), "{line}: {told}");
        }
        assert!(told.contains("\nUNWEDGE_DIGEST=") && told.ends_with("\nunwedge"), "{told}");
        for foreign in ["NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "INVOCATION_ID", "CREDENTIALS_DIRECTORY"] {
            assert!(!told.contains(foreign), "{foreign}: {told}");
        }
        host.ok("test -z \"$(pgrep -x sleep)\"; test -z \"$(ls -d /sys/fs/cgroup/system.slice/unwedge-runner.service/job-* 2>/dev/null)\"");
        assert_eq!(host.ok("cd /; unwedge jobs logs 1"), "== 1\nsaid");
        // and each verb of those that need a host says one object for a program
        host.ok("cd /; for verb in 'jobs logs 1' 'queue want-version 0.0.1' 'workers start --dry-run' 'workers stop --here --dry-run' 'workers reap --dry-run'; do
                 unwedge --json $verb >/run/told || echo \"$verb ends with $?\"; python3 -c 'import json; it = json.load(open(\"/run/told\")); assert it[\"schema\"] == 1 and it[\"tool\"] == \"unwedge\", it'; done");
        assert_eq!(job(&host, 1)["progress"], Value::Null, "what is over has no progress");

        // what wants more memory than its type has is ended, and that is said
        if host.bash("grep -qw memory /sys/fs/cgroup/cgroup.controllers").code == Some(0) {
            let said = host.bash("cd /srv/in; unwedge jobs submit --wait greedy a").stdout;
            assert!(said.contains("it wanted more memory than the 32 MiB of its type"), "{said}");
        } else {
            let said = host.bash("cd /srv/in; unwedge jobs submit --wait --timeout 3s greedy a").stdout;
            assert!(said.contains("memory_mib cannot be kept here"), "{said}");
            host.ok("cd /; unwedge jobs cancel 2");
        }

        // the whole way, and nothing left of it
        let said = host.ok("cd /; unwedge jobs smoke");
        let stages = said.lines().filter_map(|line| line.strip_suffix(" ms")?.trim().rsplit_once(' '));
        let stages: Vec<(&str, bool)> = stages.map(|(name, ms)| (name.trim_end(), ms.parse::<u64>().is_ok())).collect();
        assert!(said.starts_with("the queue works\n"), "{said}");
        assert_eq!(stages, [("put in", true), ("taken", true), ("done", true), ("in all", true)], "{said}");
        let told: Value = serde_json::from_str(&host.ok("cd /; unwedge --json jobs smoke")).unwrap();
        let ms = |name: &str| told["stages"][name].as_u64().unwrap_or_else(|| panic!("{name}: {told}"));
        assert_eq!((told["tool"].as_str(), told["stages"].as_object().unwrap().len()), (Some("unwedge"), 4), "{told}");
        assert!(ms("all_ms") >= ms("put_in_ms") && ms("taken_ms") + ms("done_ms") <= ms("all_ms") + 1, "{told}");
        let left = host.ok("cd /; unwedge jobs list --state done,cancelled; unwedge lanes list; unwedge workers list");
        assert!(!left.contains("smoke"), "{left}");
        // no row, no try and no event of it
        let kept = "import sqlite3; db = sqlite3.connect(\"file:/var/lib/unwedge/queue/queue.db?mode=ro\", uri=True); ask = lambda text: db.execute(text).fetchone()[0]; print( \
            ask(\"select count(*) from unwedge_jobs where type like \\\"%smoke%\\\"\"), ask(\"select count(*) from unwedge_lanes where type like \\\"%smoke%\\\"\"), \
            ask(\"select count(*) from unwedge_attempts where job not in (select id from unwedge_jobs)\"), \
            ask(\"select count(*) from unwedge_events where job is not null and job not in (select id from unwedge_jobs)\"), ask(\"select count(*) > 0 from unwedge_attempts\"))";
        assert_eq!(host.ok(&format!("python3 -c '{kept}'")), "0 0 0 0 1");

        // a second one changes nothing, by whomever it is started
        let before = host.ok("main_pid unwedge-runner");
        let ran = host.bash("unwedge-runner 2>&1");
        assert!(ran.code == Some(0) && ran.stdout.contains("already running"), "{ran:?}");
        assert_eq!(host.ok("main_pid unwedge-runner"), before);
        // and neither its help nor a wrong word takes a job
        assert_eq!(host.bash("unwedge-runner --help >/dev/null; unwedge-runner --json 2>/dev/null").code, Some(2));

        // the worker that is looked after is this one, and its queue is read by whoever reads queues
        let said = host.ok("unwedge-worker --json");
        let round: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&round["worker"]["name"], &round["worker"]["state"]), (&"unwedge-runner.service".into(), &"active".into()), "{round:#}");
        assert!(round["worker"]["queue"].as_str().unwrap().contains(": 0 pending, "), "{round:#}");
    }
}

host_test! {
    fn a_runner_that_hangs_is_replaced_and_one_that_is_asked_to_end_gives_back_what_it_has(host) {
        furnish(&host, &[("long", &script("", &format!("echo $$ >>/srv/out/pids; {CLINGS} test -e /srv/in/go || sleep 4321; cp $1 $2")))], "drain = \"1s\"");
        let watched = b"[Service]\nWatchdogSec=3\n";
        host.put("/etc/systemd/system/unwedge-runner.service.d/watched.conf", watched, "644");
        host.ok("systemctl daemon-reload; systemctl start unwedge-runner; echo x >/srv/in/a; cd /srv/in; unwedge jobs submit long a");
        let running = "test \"$(cd /; unwedge --json jobs show 1 | grep -o '\"state\":\"running\"')\"";
        host.until(running);
        // longer than its watchdog: what it waits for is none of its business
        host.ok("sleep 4");
        let first = host.ok("main_pid unwedge-runner");
        assert_eq!(job(&host, 1)["tries"], 1);
        host.ok(&format!("kill -STOP {first}"));
        host.until(&format!("pid=$(main_pid unwedge-runner); test $pid != 0 -a $pid != {first}"));
        host.until("test $(wc -l </srv/out/pids) = 2");
        let it = job(&host, 1);
        assert_eq!((&it["tries"], &it["rescues"], &it["failures"]), (&2.into(), &1.into(), &0.into()), "{it}");
        host.ok("kill -0 $(tail -n 1 /srv/out/pids); ! kill -0 $(head -n 1 /srv/out/pids)");

        // asked to end: what runs has its time, then goes back as it was
        host.ok("systemctl stop unwedge-runner; test $(systemctl show -P Result unwedge-runner) = success");
        assert_eq!(host.ok("systemctl show -P ExecMainStatus unwedge-runner"), "0");
        host.ok("test -z \"$(pgrep -x sleep)\"");
        let it = job(&host, 1);
        assert_eq!((&it["state"], &it["failures"], &it["rescues"]), (&"retryable".into(), &0.into(), &1.into()), "{it}");
        assert!(it["not_before_ms"].as_u64().unwrap() == 0, "{it}");
        let why = host.ok("cd /; unwedge jobs why 1");
        assert!(why.starts_with("no-worker: "), "{why}");
        // and by hand, what can be claimed is worked off
        host.ok("touch /srv/in/go; setpriv --reuid=unwedge --regid=unwedge --init-groups -- unwedge-runner --once 2>/srv/out/.said || { cat /srv/out/.said; false; }");
        assert_eq!(host.ok("cat /srv/out/a"), "x");
        assert_eq!(job(&host, 1)["state"], "done");
    }
}

host_test! {
    fn types_are_read_anew_and_a_file_that_is_wrong_keeps_the_one_it_had(host) {
        furnish(&host, &[("t", &script("", "echo one >$2"))], "engine = [\"/nowhere/podman\"]");
        host.ok("systemctl start unwedge-runner; cd /srv/in; touch a b c d; unwedge jobs submit --wait t a; grep -qx one /srv/out/a");
        kind(&host, "t", &script("", "echo two >$2"));
        kind(&host, "u", &script("output_of = 1", "echo u >$2"));
        host.ok("systemctl reload unwedge-runner; cd /srv/in; unwedge jobs submit --wait t b; grep -qx two /srv/out/b");
        // and where commands are run is told anew as well
        assert_eq!(host.ok("cd /; unwedge --json workers list | grep -o '\"mode\":\"[a-z ]*\"'"), "\"mode\":\"direct\"");
        kind(&host, "inside", "mode = \"container\"\nimage = \"tools:1\"\noutput = \"/srv/out/{name}\"\n[[tier]]\nargv = [\"/bin/true\"]\n");
        host.ok("systemctl reload unwedge-runner");
        host.until("cd /; unwedge --json workers list | grep -q '\"mode\":\"direct and container\"'");
        host.until("cd /; unwedge workers list | grep -q 'not inside: not on this host: /nowhere/podman (`apt-get install podman` installs it; '");
        host.ok("rm /etc/unwedge/jobs.d/inside.toml");
        kind(&host, "t", "colour = 1\n");
        host.ok("systemctl reload unwedge-runner");
        host.until("journalctl --sync; journalctl -b -q -o cat -u unwedge-runner | grep -q 't.toml.*it stays as it was'");
        let journal = host.ok("journalctl -b -q -o cat -u unwedge-runner");
        assert!(journal.contains("u.toml") && journal.contains("nothing of this type is taken here"), "{journal}");
        kind(&host, "copy", &script("", "echo two >$2"));
        let said = host.bash("cd /srv/in; unwedge jobs submit t c 2>&1");
        assert!(said.code == Some(2) && said.stdout.contains("t.toml"), "{said:?}");
        // what it had is what it does; a job that was put in elsewhere shows it
        host.ok("cp /etc/unwedge/jobs.d/copy.toml /srv/t.toml; cd /srv/in; unwedge jobs submit --wait /srv/t.toml c; grep -qx two /srv/out/c");
        let journal = host.ok("journalctl -b -q -o cat -u unwedge-runner");
        assert!(journal.lines().any(|line| line.contains(": t; direct; at most 1 at once; settings from /etc/unwedge/unwedge.toml") && line.contains("begins as ")), "{journal}");
        host.ok("systemctl stop unwedge-runner; journalctl --sync; journalctl -b -q -o cat -u unwedge-runner | grep -Eq '[0-9a-f]+:[0-9]+ ends after [0-9]+ s: [1-9][0-9]* done, 0 failed; it was asked to$'");

        // nothing to run: it stays down until a person changes that
        host.put("/etc/unwedge/unwedge.toml", own_queue("").as_bytes(), "644");
        host.ok("systemctl restart unwedge-runner || :");
        host.until("test $(systemctl show -P ActiveState unwedge-runner) = failed");
        host.ok("sleep 2; test $(systemctl show -P ExecMainStatus unwedge-runner) = 78; test $(systemctl show -P NRestarts unwedge-runner) = 0");
    }
}

host_test! {
    fn a_type_whose_program_comes_is_begun_by_itself_and_no_try_was_used(host) {
        furnish(&host, &[
            ("late", "output = \"/srv/out/{name}\"\n[[tier]]\nargv = [\"/usr/local/bin/late\", \"{input}\", \"{output}\"]\ntools = [\"/usr/local/lib/late-part\"]\n"),
        ], "tools = \"1s\"\npoll = \"200ms\"");
        host.ok("systemctl start unwedge-runner; echo x >/srv/in/a; cd /srv/in; unwedge jobs submit late a");
        host.until("cd /; unwedge jobs why 1 | grep -q 'not on this host: /usr/local/bin/late'");
        host.ok("sleep 1");
        let it = job(&host, 1);
        assert_eq!((&it["state"], &it["tries"]), (&"pending".into(), &0.into()), "{it}");
        host.put("/usr/local/bin/late", b"#!/bin/sh\ncp \"$1\" \"$2\"\n", "755");
        // a command is of no use without what it calls
        host.until("cd /; unwedge jobs why 1 | grep -q 'not on this host: /usr/local/lib/late-part'");
        host.ok("sleep 1");
        let it = job(&host, 1);
        assert_eq!((&it["state"], &it["tries"]), (&"pending".into(), &0.into()), "{it}");
        host.put("/usr/local/lib/late-part", b"", "644");
        host.until("cd /; unwedge jobs list --state done | grep -q /srv/in/a");
        let it = job(&host, 1);
        assert_eq!((&it["tries"], &it["failures"]), (&1.into(), &0.into()), "{it}");
        // and one that goes is missed before a job waits for it
        host.ok("rm /usr/local/bin/late");
        host.until("cd /; unwedge workers list --json | grep -q 'not on this host: /usr/local/bin/late'");

        // a key of one type is set by a variable as any other is: none at once is none
        host.put("/usr/local/bin/late", b"#!/bin/sh\ncp \"$1\" \"$2\"\n", "755");
        host.put("/etc/systemd/system/unwedge-runner.service.d/none.conf", b"[Service]\nEnvironment=UNWEDGE__JOBS__LATE__CONCURRENCY=0\n", "644");
        host.ok("systemctl daemon-reload; systemctl restart unwedge-runner; echo y >/srv/in/b; cd /srv/in; unwedge jobs submit late b; sleep 2");
        let it = job(&host, 2);
        assert_eq!((&it["state"], &it["tries"]), (&"pending".into(), &0.into()), "{it}");
        let why = host.ok("cd /; unwedge jobs why 2");
        assert!(why.starts_with("no-capable-worker: ") && why.contains("none at once on this host"), "{why}");
        host.ok("rm /etc/systemd/system/unwedge-runner.service.d/none.conf; systemctl daemon-reload; systemctl restart unwedge-runner");
        host.until("cd /; unwedge jobs list --state done | grep -q /srv/in/b");
    }
}

host_test! {
    fn a_dead_mount_stops_only_its_own_jobs_and_they_go_on_when_it_is_back(host) {
        furnish(&host, &[
            ("far", "output = \"/srv/storagebox/{name}\"\n[[tier]]\nargv = [\"/bin/cp\", \"{input}\", \"{output}\"]\n"),
            ("near", &script("", "cp $1 $2")),
        ], "poll = \"200ms\"");
        let base = listed("");
        // it is repaired by a person alone
        configure(&host, "poll = \"200ms\"", &format!("[mounts]\nrepair_under = [\"/srv\"]\n[mounts.budget]\nper_day = 0\n{base}"));
        host.ok("chmod 777 /srv/remote; unwedge-mounts --apply >/dev/null || :; systemctl start unwedge-runner; cd /srv/in; tee a b c d e <<<x");
        let say = "cd /srv/in; unwedge jobs submit";
        host.ok(&format!("{say} --wait far a; test -e /srv/remote/a"));
        assert_eq!(job(&host, 1)["needs"], serde_json::json!([BASE, format!("room:{BASE}")]));
        // it dies, and a round sees that; nothing is repaired, for nothing is armed
        host.ok("kill -KILL $(main_pid); sleep 0.2; unwedge-mounts --apply >/dev/null || :");
        host.ok(&format!("{say} far b c; {say} --wait near d"));
        host.until("cd /; unwedge jobs why 2 | grep -q '^storage-closed: .*/srv/storagebox'");
        // and with everything permitted the runner is not stopped for jobs that it leaves alone
        host.ok("for kind in mounts worker; do unwedge sentinel arm $kind --because test >/dev/null; done
             for nth in 1 2 3 4; do unwedge-mounts --apply >/dev/null || :; sleep 0.3; done; systemctl is-active unwedge-runner");
        host.ok(&format!("{say} --wait near e"));
        let it = job(&host, 2);
        assert_eq!((&it["state"], &it["tries"]), (&"pending".into(), &0.into()), "{it}");
        let screen = host.bash("cd /; unwedge status");
        assert_eq!(screen.code, Some(2), "{screen:?}");
        for words in ["dead          /srv/storagebox  closed", "unwedge-runner.service: active", "far waits: storage-closed", "workers: 1 idle"] {
            assert!(screen.stdout.contains(words), "{words}: {}", screen.stdout);
        }
        // the file says nothing about whether anybody looks any more
        host.ok("systemctl restart storagebox || :; umount -l /srv/storagebox; systemctl restart storagebox; await_data; unwedge-mounts --apply >/dev/null");
        host.until("test -e /srv/remote/b -a -e /srv/remote/c");
        host.until("test \"$(cd /; unwedge --json jobs list --state done --type far | grep -o '\"tries\":1' | wc -l)\" = 3");
    }
}

host_test! {
    fn a_job_that_runs_is_working_slow_hung_on_io_unknown_or_gone_and_says_why(host) {
        furnish(&host, &[
            ("far", "output = \"/srv/storagebox/{name}\"\n[[tier]]\nargv = [\"/bin/bash\", \"-c\", '''echo x >$1; until test -e /srv/in/go; do sleep 0.2; done; cat /srv/storagebox/hello >$1; for nth in {1..15}; do sleep 0.2; done''', \"job\", \"{output}\"]\n"),
            ("sleepy", &script("", "sleep 4321")),
            ("busy", &script("", "while :; do :; done")),
            // hangs as well, and its time is soon over
            ("short", "output = \"/srv/out/{name}\"\n[retry]\nattempts = 1\n[[tier]]\nlimit = \"15s\"\nargv = [\"/bin/bash\", \"-c\", '''sleep 1; cat $1 >$2''', \"job\", \"{input}\", \"{output}\"]\n"),
        ], "");
        let mounts = format!("[mounts]\nrepair_under = [\"/srv\"]\n{}", listed(""));
        configure(&host, "slow = \"2s\"\nslots = 4", &(own_queue("worker_stale = \"2s\"") + &mounts));
        host.ok("chmod 777 /srv/remote; unwedge-mounts --apply >/dev/null || :; systemctl start unwedge-runner; cd /srv/in; touch a b c
                 unwedge jobs submit far a; unwedge jobs submit sleepy b; unwedge jobs submit busy c");
        let is = |id: u32, words: &str| format!("cd /; unwedge jobs why {id} | grep -q '^running: worker .* has it; {words}'");
        host.until(&is(2, "slow: nothing of it has moved for 2.0 s$"));
        // a shell that looks again and again moves, and so does one that never sleeps
        for id in [1, 3] {
            host.ok(&is(id, "working$"));
        }
        // the server behind the mount hears nothing any more, and a round sees that
        host.ok("pid=$(server_pid); cd /; unwedge jobs submit short /srv/storagebox/hello; kill -STOP $pid; touch /srv/in/go; sleep 0.5; unwedge-mounts --apply >/dev/null || :");
        host.until(&is(1, "hung-on-io: nothing of it has moved for 2.0 s; .*/srv/storagebox is not open$"));
        host.ok(&is(2, "slow"));
        host.ok(&is(3, "working$"));
        let list = host.ok("cd /; unwedge jobs list --state running");
        for words in ["hung-on-io: nothing of it", "slow: nothing of it"] {
            assert!(list.contains(words), "{list}");
        }
        host.ok(&format!("unwedge-jobs --apply >/dev/null || :; grep -qx 'unwedge_lane_stalled{{how=\"hung-on-io\",lane=\"far\"}} 1' {TEXTFILES}/unwedge_jobs.prom"));
        let lanes = host.ok("cd /; unwedge lanes list");
        assert!(lanes.contains("hung-on-io: 1 of 1 that run"), "{lanes}");
        // what is let down by its storage until its time is over is not at fault, and is not put aside
        host.until("cd /; unwedge jobs show 4 | grep -qx 'state      retryable'");
        let it = job(&host, 4);
        assert_eq!((&it["failures"], &it["infra_errors"], &it["class"]), (&0.into(), &1.into(), &"infrastructure".into()), "{it}");
        let message = it["message"].as_str().unwrap();
        assert!(message.starts_with("/srv/storagebox: no answer ") && message.contains(": no end within 15 s;"), "{it}");
        // nobody ended it, nobody took it: it goes on where it was
        host.ok("kill -CONT $(server_pid)");
        host.until("cd /; unwedge jobs show 1 | grep -qx 'state      done'");
        assert_eq!(job(&host, 1)["tries"], 1);
        host.ok("journalctl --sync; journalctl -b -q -o cat -u unwedge-runner | grep -q '^unwedge-runner: job 1: it moves again'");
        // a worker that is not heard says nothing of its jobs, and one that is gone has none
        host.ok("kill -STOP $(main_pid unwedge-runner)");
        host.until(&is(3, "unknown$"));
        host.ok("systemctl mask --runtime unwedge-runner 2>/dev/null; kill -KILL $(main_pid unwedge-runner)");
        host.until(&is(3, "gone$"));
    }
}

host_test! {
    fn how_long_a_command_may_take_to_end_and_how_often_a_job_may_lose_its_worker_is_as_told(host) {
        let tidies = "output = \"/srv/out/{name}\"\n[retry]\nattempts = 1\n[[tier]]\nlimit = \"500ms\"\nargv = [\"/bin/bash\", \"-c\", '''trap \"sleep 1; touch $2.tidied; exit 1\" TERM; sleep 4321 & wait''', \"job\", \"{input}\", \"/srv/out/{name}\"]\n";
        furnish(&host, &[("tidies", tidies), ("long", &script("", "test -e /srv/in/go || sleep 4321; cp $1 $2"))], "");
        let told = |grace: &str, rescues: u32| {
            configure(&host, &format!("rescues = {rescues}"), "");
            host.ok(&format!("sed -i 's/^grace = .*/grace = \"{grace}\"/' /etc/unwedge/unwedge.toml; rm -f /var/lib/unwedge/queue/runner.json; systemctl restart unwedge-runner"));
        };
        host.ok("cd /srv/in; touch a b; echo x >c");
        for (grace, name) in [("5s", "a"), ("50ms", "b")] {
            told(grace, 3);
            let said = host.bash(&format!("cd /srv/in; unwedge jobs submit --wait tidies {name}"));
            assert!(said.stdout.contains("no end within 500 ms"), "{said:?}");
        }
        host.ok("test -e /srv/out/a.tidied; ! test -e /srv/out/b.tidied");

        told("1s", 2);
        host.ok("cd /srv/in; unwedge jobs submit long c");
        let running = "test \"$(cd /; unwedge --json jobs show 3 | grep -o '\"state\":\"running\"')\"";
        for (rescues, state) in [(1, "running"), (2, "quarantined")] {
            host.until(running);
            host.ok("kill -KILL $(main_pid unwedge-runner); rm -f /var/lib/unwedge/queue/runner.json");
            host.until(&format!("cd /; unwedge --json jobs show 3 | grep -q '\"rescues\":{rescues},'"));
            host.until(&format!("cd /; unwedge --json jobs show 3 | grep -q '\"state\":\"{state}\"'"));
        }
        let it = job(&host, 3);
        assert_eq!((&it["class"], &it["failures"]), (&"crashed".into(), &0.into()), "{it}");
        host.ok("test -z \"$(pgrep -x sleep)\"");
    }
}

host_test! {
    fn a_gate_that_closes_between_claim_and_begin_gives_the_job_back_uncounted(host) {
        let text = "output = \"/srv/storagebox/{name}\"\nbatch = 5\n[[tier]]\nargv = [\"/bin/bash\", \"-c\", '''echo x >>/srv/out/runs; until test -e /srv/in/go; do sleep 0.05; done''', \"job\", \"{input}\", \"{output}\"]\n";
        furnish(&host, &[("far", text)], "");
        configure(&host, "slots = 1", &format!("[mounts]\nrepair_under = [\"/srv\"]\n{}", listed("")));
        host.ok("chmod 777 /srv/remote; unwedge-mounts --apply >/dev/null || :; cd /srv/in; touch a b c d e; unwedge jobs submit far a b c d e; systemctl start unwedge-runner");
        host.until("test -e /srv/out/runs");
        // all five are its own, and one runs
        assert_eq!(host.ok("cd /; unwedge --json jobs list --state running | grep -o '\"tries\":1,' | wc -l"), "5");
        host.ok("kill -KILL $(main_pid); sleep 0.2; unwedge-mounts --apply >/dev/null || :; touch /srv/in/go");
        host.until("test $(cd /; unwedge --json jobs list --state running | grep -o '\"tries\":' | wc -l) = 0");
        for id in 2..=5 {
            let it = job(&host, id);
            let counted = (&it["failures"], &it["infra_errors"], &it["rescues"]);
            assert_eq!(counted, (&0.into(), &0.into(), &0.into()), "{it}");
            assert_eq!((&it["state"], &it["not_before_ms"]), (&"pending".into(), &0.into()), "{it}");
            host.until(&format!("cd /; unwedge jobs why {id} | grep -q '^storage-closed: '"));
        }
        host.ok("test $(wc -l </srv/out/runs) = 1");
    }
}

host_test! {
    fn a_runner_that_is_killed_a_hundred_times_is_there_and_waits_before_it_takes_anything(host) {
        furnish(&host, &[("t", &script("", "cp $1 $2"))], "");
        let quick = b"[Service]\nRestartSec=20ms\n";
        host.put("/etc/systemd/system/unwedge-runner.service.d/quick.conf", quick, "644");
        host.ok("systemctl daemon-reload; systemctl start unwedge-runner; echo x >/srv/in/a");
        for _ in 0..10 {
            host.ok("for nth in {1..10}; do
                         until systemctl is-active -q unwedge-runner; do sleep 0.01; done
                         pid=$(main_pid unwedge-runner); kill -KILL $pid; timeout 5 tail --pid=$pid -s 0.01 -f /dev/null
                     done");
        }
        host.until("systemctl is-active -q unwedge-runner");
        host.ok("test $(systemctl show -P NRestarts unwedge-runner) -ge 100");
        let said = host.ok("journalctl --sync; journalctl -b -q -o cat -u unwedge-runner | grep 'begins as' | tail -n 1");
        assert!(said.ends_with("; it was started often and waits 300 s first"), "{said}");
        // nothing is lost meanwhile, and nothing taken
        host.ok("cd /srv/in; unwedge jobs submit t a; sleep 3");
        let it = job(&host, 1);
        assert_eq!((&it["state"], &it["tries"]), (&"pending".into(), &0.into()), "{it}");
        host.until("cd /; unwedge workers list | grep -q 'before it takes anything: it was started often'");
        // who is only to work off what there is waits for nothing
        host.ok("systemctl stop unwedge-runner; for nth in {1..3}; do timeout 20 unwedge-runner --once; done; test -e /srv/out/a; rm /srv/out/a; cd /srv/in; unwedge jobs retry 1; systemctl start unwedge-runner");
        // those hundred are forgotten after a while, and it works
        host.ok("rm /var/lib/unwedge/queue/runner.json; systemctl restart unwedge-runner");
        host.until("test -e /srv/out/a");
        host.until("test $(cd /; unwedge workers list | grep -c '^idle ') = 1");
    }
}

host_test! {
    fn a_runner_that_lost_its_lease_ends_by_its_own_code_and_is_one_of_them_again_by_itself(host) {
        furnish(&host, &[("long", &script("", "echo $$ >>/srv/out/pids; until test -e /srv/in/go; do sleep 0.1; done; cp $1 $2"))], "");
        configure(&host, "", &own_queue("lease = \"3s\""));
        host.put("/etc/unwedge/sentinels/jobs", b"armed by a test\n", "644");
        host.ok("systemctl start unwedge-runner; echo x >/srv/in/a; cd /srv/in; unwedge jobs submit long a");
        host.until("test -e /srv/out/pids");
        let first = host.ok("main_pid unwedge-runner");
        // it is not heard for longer than its lease, by somebody who listened all the time
        host.ok(&format!("kill -STOP {first}"));
        host.until("unwedge-jobs --apply >/dev/null || :; sleep 0.5; cd /; unwedge --json jobs show 1 | grep -q '\"rescues\":1,'");
        let it = job(&host, 1);
        assert_eq!((&it["state"], &it["rescues"]), (&"retryable".into(), &1.into()), "{it}");
        host.ok(&format!("kill -CONT {first}"));
        host.until(&format!("pid=$(main_pid unwedge-runner); test $pid != 0 -a $pid != {first}"));
        host.ok("journalctl --sync; journalctl -b -q -o cat -u unwedge-runner | grep -q 'the queue knows this worker no more'
                 journalctl -b -q -o cat -u unwedge-runner | grep -q 'status=3/'");
        host.until("test $(wc -l </srv/out/pids) = 2");
        host.ok("(! kill -0 $(head -n 1 /srv/out/pids)); touch /srv/in/go");
        host.until("cd /; unwedge jobs show 1 | grep -qx 'state      done'");
        let it = job(&host, 1);
        assert_eq!((&it["tries"], &it["rescues"], &it["failures"]), (&2.into(), &1.into(), &0.into()), "{it}");
    }
}

host_test! {
    fn a_runner_that_the_queue_knows_no_more_begins_nothing_of_what_it_has_taken(host) {
        let text = "echo $UNWEDGE_WORKER $UNWEDGE_JOB >>/srv/out/begun; until test -e /srv/in/go; do sleep 0.1; done; cp $1 $2";
        furnish(&host, &[("long", &script("batch = 9\nconcurrency = 1", text))], "");
        configure(&host, "", &own_queue("lease = \"3s\""));
        host.put("/etc/unwedge/sentinels/jobs", b"armed by a test\n", "644");
        host.ok("cd /srv/in; tee a b c d <<<x; unwedge jobs submit long a b c d; systemctl start unwedge-runner");
        host.until("test -e /srv/out/begun");
        let first = host.ok("main_pid unwedge-runner");
        // all of them are its own
        host.ok("cd /; unwedge jobs list --json --state running | grep -o '\"id\":' | wc -l | grep -qx 4");
        host.ok(&format!("kill -STOP {first}"));
        host.until("unwedge-jobs --apply >/dev/null || :; sleep 0.5; cd /; unwedge --json jobs show 1 | grep -q '\"rescues\":1,'");
        host.ok(&format!("kill -CONT {first}"));
        host.until(&format!("pid=$(main_pid unwedge-runner); test $pid != 0 -a $pid != {first}"));
        host.ok("touch /srv/in/go");
        host.until("cd /; unwedge jobs list --state done | grep -c long | grep -qx 4");
        let begun = host.ok("cat /srv/out/begun");
        let by_first = begun.lines().filter(|line| line.contains(&format!(":{first}:"))).count();
        assert_eq!(by_first, 1, "{begun}");
    }
}

host_test! {
    fn what_wants_less_memory_than_there_is_is_not_taken_where_that_cannot_be_kept(host) {
        furnish(&host, &[("limited", &script("memory_mib = 64", "cp $1 $2")), ("near", &script("", "cp $1 $2"))], "poll = \"200ms\"");
        host.put("/etc/systemd/system/unwedge-runner.service.d/none.conf", b"[Service]\nDelegate=no\n", "644");
        host.ok("systemctl daemon-reload; systemctl start unwedge-runner; cd /srv/in; tee a b <<<x; unwedge jobs submit limited a; unwedge jobs submit --wait near b");
        host.until("cd /; unwedge jobs why 1 | grep -q '^no-capable-worker: .*memory_mib cannot be kept here: no cgroups of its own'");
        assert_eq!(job(&host, 1)["tries"], 0);
        kind(&host, "limited", &script("", "cp $1 $2"));
        host.ok("systemctl reload unwedge-runner");
        host.until("test -s /srv/out/a");
    }
}

host_test! {
    fn what_still_hangs_of_a_worker_keeps_its_jobs_however_long_that_one_is_silent(host) {
        furnish(&host, &[("long", &script("", "echo $$ >>/srv/out/pids; until test -e /srv/in/go; do sleep 0.1; done; cp $1 $2"))], "");
        configure(&host, "", &own_queue("lease = \"3s\""));
        host.put("/etc/unwedge/sentinels/jobs", b"armed by a test\n", "644");
        host.ok("systemctl start unwedge-runner; echo x >/srv/in/a; cd /srv/in; unwedge jobs submit long a");
        host.until("test -e /srv/out/pids");
        let it = job(&host, 1);
        let helper = unwedge::probes::witness::helper_name(it["worker"].as_str().unwrap());
        // as a helper that waits for storage and cannot be killed
        host.ok(&format!("cp /bin/sleep /srv/{helper}; (setsid /srv/{helper} 1000 </dev/null &>/dev/null &)
                 systemctl mask --runtime unwedge-runner 2>/dev/null; kill -KILL $(main_pid unwedge-runner)
                 for nth in 1 2 3 4 5; do unwedge-jobs --apply >/dev/null || :; sleep 1.2; done"));
        let it = job(&host, 1);
        assert_eq!((&it["state"], &it["rescues"]), (&"running".into(), &0.into()), "{it}");
        host.ok(&format!("pkill -x {helper}; unwedge-jobs --apply >/dev/null || :"));
        host.until("cd /; unwedge --json jobs show 1 | grep -q '\"rescues\":1,'");
    }
}

host_test! {
    fn a_worker_that_is_there_and_gives_no_sign_of_life_is_hung_and_keeps_what_it_has(host) {
        furnish(&host, &[("long", &script("", "until test -e /srv/in/go; do sleep 0.1; done; cp $1 $2"))], "");
        configure(&host, "", &own_queue("worker_stale = \"2s\""));
        host.ok("systemctl start unwedge-runner; echo x >/srv/in/a; cd /srv/in; unwedge jobs submit long a");
        host.until("cd /; unwedge workers list | grep -q '^busy '");
        // its watchdog is three minutes away
        host.ok("kill -STOP $(main_pid unwedge-runner)");
        host.until("cd /; unwedge workers list | grep -q '^hung '");
        let screen = host.bash("cd /; unwedge status");
        assert!(screen.code == Some(1) && screen.stdout.contains("workers: 1 hung"), "{screen:?}");
        assert!(host.ok("cd /; unwedge jobs why 1").contains("unknown"));
        host.ok("kill -CONT $(main_pid unwedge-runner); touch /srv/in/go");
        host.until("test -s /srv/out/a; cd /; unwedge workers list | grep -q '^idle '");
        let it = job(&host, 1);
        assert_eq!((&it["tries"], &it["rescues"]), (&1.into(), &0.into()), "{it}");
    }
}

host_test! {
    fn jobs_of_a_worker_that_is_gone_go_back_with_its_lease_also_where_its_processes_cannot_be_seen(host) {
        furnish(&host, &[("long", &script("", "echo $$ >>/srv/out/pids; sleep 4321"))], "");
        configure(&host, "", &own_queue("lease = \"3s\""));
        host.put("/etc/unwedge/sentinels/jobs", b"armed by a test\n", "644");
        // as it ships, it sees no process of others
        host.put("/etc/systemd/system/unwedge-jobs.service", &shipped("unwedge-jobs.service"), "644");
        host.put("/etc/systemd/system/unwedge-runner.service.d/once.conf", b"[Service]\nRestart=no\n", "644");
        host.ok("grep -qx ProtectProc=invisible /etc/systemd/system/unwedge-jobs.service; systemctl daemon-reload; systemctl start unwedge-runner
                 echo x >/srv/in/a; cd /srv/in; unwedge jobs submit long a");
        host.until("test -e /srv/out/pids");
        host.ok("kill -KILL $(main_pid unwedge-runner)");
        host.until("systemctl start unwedge-jobs.service || :; sleep 0.5; cd /; unwedge --json jobs show 1 | grep -q '\"rescues\":1,'");
        let it = job(&host, 1);
        assert_eq!((&it["state"], &it["rescues"]), (&"retryable".into(), &1.into()), "{it}");
    }
}

host_test! {
    fn a_result_never_lands_below_a_mount_that_went_meanwhile(host) {
        let text = "output = \"/srv/storagebox/{name}\"\n[[tier]]\nargv = [\"/bin/bash\", \"-c\", '''until test -e /srv/in/go; do sleep 0.1; done; echo late >$1''', \"job\", \"{output}\"]\n";
        furnish(&host, &[("late", text)], "");
        configure(&host, "", &format!("[mounts]\nrepair_under = [\"/srv\"]\n{}", listed("")));
        host.ok("chmod 777 /srv/remote; unwedge-mounts --apply >/dev/null || :; systemctl start unwedge-runner; cd /srv/in; touch a; unwedge jobs submit late a");
        host.until("cd /; unwedge jobs why 1 | grep -q '^running'");
        // no round has seen it yet: for the queue and its gate all is well
        host.ok("umount -l /srv/storagebox; chmod 777 /srv/storagebox; touch /srv/in/go");
        host.until("cd /; unwedge jobs show 1 | grep -qx 'state      retryable'");
        let it = job(&host, 1);
        assert_eq!((&it["failures"], &it["infra_errors"]), (&0.into(), &1.into()), "{it}");
        assert_eq!(it["message"], "/srv/storagebox is on another file system than when it began", "{it}");
        host.ok("test -z \"$(ls -A /srv/storagebox)\"; test -z \"$(ls /srv/remote/a 2>/dev/null)\"");
    }
}

host_test! {
    fn what_fails_because_its_storage_went_is_not_the_items_fault_before_anybody_has_seen_it(host) {
        let reads = script("[retry]\nattempts = 1\n", "until test -e /srv/in/go; do sleep 0.1; done; cat $1 >$2 2>/dev/null || exit 1");
        furnish(&host, &[("reads", &reads)], "");
        configure(&host, "", &format!("[mounts]\nrepair_under = [\"/srv\"]\n{}", listed("")));
        for (nth, went) in ["umount -l /srv/storagebox", "kill -KILL $(main_pid)"].iter().enumerate() {
            let id = nth as u64 + 1;
            host.ok(&format!("echo x >/srv/remote/a{id}; chmod 644 /srv/remote/a{id}; unwedge-mounts --apply >/dev/null || :; systemctl start unwedge-runner; unwedge jobs submit reads /srv/storagebox/a{id}"));
            host.until(&format!("cd /; unwedge jobs why {id} | grep -q '^running'"));
            host.ok(&format!("{went}; touch /srv/in/go"));
            host.until(&format!("cd /; unwedge jobs show {id} | grep -qx 'state      retryable'"));
            let it = job(&host, id);
            assert_eq!((&it["failures"], &it["infra_errors"]), (&0.into(), &1.into()), "{it}");
            assert!(it["message"].as_str().unwrap().starts_with("/srv/storagebox"), "{it}");
            host.ok("rm /srv/in/go; umount -l /srv/storagebox 2>/dev/null || :; systemctl restart storagebox; await_data");
        }
    }
}

host_test! {
    fn storage_that_went_before_a_job_begins_takes_none_though_no_round_has_seen_it(host) {
        furnish(&host, &[("reads", &script("[retry]\nattempts = 1\n", "cat $1 >$2"))], "poll = \"200ms\"");
        configure(&host, "poll = \"200ms\"", &format!("[mounts]\nrepair_under = [\"/srv\"]\n{}", listed("")));
        host.ok("echo x >/srv/remote/a; chmod 644 /srv/remote/a; unwedge-mounts --apply >/dev/null || :; grep -q '\"open\": true' /run/unwedge/storage.json
                 unwedge jobs submit reads /srv/storagebox/a; umount -l /srv/storagebox; systemctl start unwedge-runner");
        host.ok("sleep 2; cd /; unwedge jobs why 1 | grep -q storagebox");
        let it = job(&host, 1);
        assert_eq!((&it["state"], &it["tries"]), (&"pending".into(), &0.into()), "{it}");
        host.ok("systemctl restart storagebox; await_data; unwedge-mounts --apply >/dev/null || :");
        host.until("grep -qx x /srv/out/a");
        assert_eq!(job(&host, 1)["tries"], 1);
    }
}

host_test! {
    fn a_program_that_lies_on_storage_that_hangs_stops_its_own_type_alone(host) {
        let far = "output = \"/srv/out/far-{name}\"\n[[tier]]\nargv = [\"/srv/storagebox/tool\", \"{input}\", \"{output}\"]\n";
        furnish(&host, &[("near", &script("", "cp $1 $2")), ("far", far)], "tools = \"2s\"");
        host.ok("cp /bin/cp /srv/remote/tool; chmod 755 /srv/remote/tool; kill -STOP $(server_pid); systemctl start unwedge-runner
                 echo x >/srv/in/a; unwedge jobs submit --wait near /srv/in/a; unwedge jobs submit far /srv/in/a");
        let said = host.ok("cd /; unwedge jobs why 2");
        assert!(said.contains("its programs cannot be looked for: no answer within 5.0 s"), "{said}");
        // however often it is looked for, one waits
        host.ok("sleep 8; test $(ps axo args | grep -c '[-]-programs-here') = 1; kill -CONT $(server_pid)");
        host.until("grep -qx x /srv/out/far-a");
    }
}

host_test! {
    fn how_far_a_job_is_is_shown_while_it_runs_and_who_lost_it_writes_nothing_of_it(
        host, needs "/usr/lib/postgresql/15/bin/postgres", needs "/usr/bin/psql"
    ) {
        furnish_with_postgres(&host, &[("t", &script("", "echo 1/2 half >&$UNWEDGE_PROGRESS_FD; until test -e /srv/in/go; do sleep 0.05; done; cp $1 $2"))], "");
        host.ok("systemctl start unwedge-runner; echo x >/srv/in/a; cd /srv/in; unwedge jobs submit t a");
        host.until("cd /; unwedge --json jobs show 1 | grep -q '\"progress\":\"1/2 half\"'");
        host.ok("cd /; unwedge workers list | grep -q '1/2 half'");
        assert_eq!(job(&host, 1)["state"], "running");
        // as if a sweep had taken it from a host that was silent for too long
        let sql = "setpriv --reuid=postgres --regid=postgres --init-groups -- psql -qAtX -h /run/pg app -c";
        host.ok(&format!("cd /; {sql} \"UPDATE unwedge_jobs SET tries = tries + 1, worker = 'another'\"; touch /srv/in/go"));
        host.until("journalctl --sync; journalctl -b -q -o cat -u unwedge-runner | grep -q 'job 1, try 1: it is somebody else.s; what came of it is not written'");
        let it = job(&host, 1);
        assert_eq!((&it["state"], &it["tries"], &it["worker"]), (&"running".into(), &2.into(), &"another".into()), "{it}");
        assert_eq!(host.ok(&format!("cd /; {sql} 'SELECT * FROM unwedge_attempts'")), "");
        host.ok("test -z \"$(ls -A /srv/out)\"");
    }
}

host_test! {
    fn what_is_made_again_by_a_persons_word_is_made_and_not_found(host) {
        furnish(&host, &[("t", &script("", "cp $1 $2"))], "");
        host.ok("systemctl start unwedge-runner; echo x >/srv/in/a; cd /srv/in; unwedge jobs submit --wait t a; unwedge jobs retry 1");
        host.until("cd /; unwedge jobs show 1 | grep -qx 'state      done'");
        let it = job(&host, 1);
        assert_eq!((&it["tries"], &it["tier"]), (&2.into(), &"1".into()), "it ran, and made the same: {it}");
        host.ok("cd /; rm /srv/out/a; unwedge jobs retry 1");
        host.until("grep -qx x /srv/out/a");
        // what somebody else has put there meanwhile is nobody's result
        host.ok("cd /; echo foreign >/srv/out/a; unwedge jobs retry 1");
        host.until("cd /; unwedge jobs list --state quarantined | grep -q /srv/in/a");
        let it = job(&host, 1);
        assert_eq!((&it["class"], &it["tier"]), (&"conflict".into(), &"1".into()), "{it}");
        assert_eq!(host.ok("cat /srv/out/a"), "foreign");
    }
}

host_test! {
    fn a_runner_that_is_too_old_for_its_queue_stays_down_and_says_what_to_do(host) {
        furnish(&host, &[("t", &script("", "until test -e /srv/in/go; do sleep 0.05; done; cp $1 $2"))], "");
        // who is there takes nothing more, ends what it has and stays down; and so does who comes
        host.ok("systemctl start unwedge-runner; cd /; echo x >/srv/in/a; unwedge jobs submit t /srv/in/a");
        host.until("cd /; unwedge jobs list --state running | grep -q /srv/in/a");
        host.ok("cd /; unwedge queue want-version 9.0.0; touch /srv/in/b; unwedge jobs submit t /srv/in/b");
        host.until("journalctl --sync; journalctl -b -q -o cat -u unwedge-runner | grep -q 'asked to end: no more is taken, 1 still run'");
        host.ok("touch /srv/in/go");
        host.until("test $(systemctl show -P ActiveState unwedge-runner) = failed");
        host.ok("cd /; unwedge jobs list --state done >/run/done; grep -q /srv/in/a /run/done; unwedge jobs list --state pending >/run/pending; grep -q /srv/in/b /run/pending; systemctl reset-failed unwedge-runner; systemctl start unwedge-runner || :");
        host.until("test $(systemctl show -P ActiveState unwedge-runner) = failed");
        host.ok("sleep 2; test $(systemctl show -P ExecMainStatus unwedge-runner) = 78; test $(systemctl show -P NRestarts unwedge-runner) = 0");
        host.ok("journalctl --sync; journalctl -b -q -o cat -u unwedge-runner | grep -q ' of throw-away is of version 0.1.0, and this queue wants workers of 9.0.0 or later: dpkg -i unwedge_9.0.0_\\*.deb && systemctl restart unwedge-runner$'");
        // what it said is shown to whoever starts it by hand
        let said = host.bash("cd /; unwedge workers start 2>&1");
        assert!(said.code == Some(1) && said.stdout.contains("unwedge-runner.service did not come up") && said.stdout.contains("wants workers of 9.0.0"), "{said:?}");
        host.ok("test $(systemctl show -P ActiveState unwedge-runner) != activating");
    }
}

host_test! {
    fn a_database_that_goes_away_costs_no_job_a_try_and_what_was_done_meanwhile_is_handed_in(
        host, needs "/usr/lib/postgresql/15/bin/postgres", needs "/usr/bin/psql"
    ) {
        let fails = "[[tier]]\nargv = [\"/bin/bash\", \"-c\", \"until test -e /srv/in/fail; do sleep 0.05; done; exit 9\"]\n[exit]\n9 = \"permanent\"\n";
        furnish_with_postgres(&host, &[
            ("slow", &script("", "until test -e /srv/in/go; do sleep 0.05; done; cp $1 $2")), ("fails", fails),
        ], "poll = \"200ms\"\ndrain = \"3s\"");
        // it waits for its queue for longer than a start may take, and that is a start like any other
        host.put("/etc/systemd/system/unwedge-runner.service.d/short.conf", b"[Service]\nTimeoutStartSec=2\n", "644");
        host.ok("systemctl stop lab-pg; systemctl daemon-reload; systemctl start --no-block unwedge-runner; sleep 4; test $(systemctl is-active unwedge-runner) = activating || exit 1; main_pid unwedge-runner >/srv/out/.pid");
        // and gives signs of life while it does
        host.ok(&format!("grep -qx 'unwedge_runner_queue_reachable 0' {TEXTFILES}/unwedge_runner.prom; systemctl show -P StatusText unwedge-runner | grep -q 'the queue is away'"));
        host.ok("systemctl start lab-pg");
        host.until("test $(systemctl is-active unwedge-runner) = active");
        host.ok("test $(main_pid unwedge-runner) = $(cat /srv/out/.pid); rm /srv/out/.pid");
        host.ok("cd /srv/in; tee a b <<<x; unwedge jobs submit slow a");
        host.until("test $(systemctl show -P ExecMainStartTimestampMonotonic unwedge-runner) != 0; cd /; unwedge jobs why 1 | grep -q '^running'");
        let pid = host.ok("main_pid unwedge-runner");
        host.ok("systemctl stop lab-pg; touch /srv/in/go; sleep 2");
        // done, and not to be told: it waits for the word whether the job is still its own
        host.ok("(! test -e /srv/out/a); systemctl start lab-pg");
        host.until("cd /; unwedge jobs list --state done | grep -q /srv/in/a");
        let it = job(&host, 1);
        assert_eq!((&it["tries"], &it["failures"], &it["infra_errors"], &it["rescues"]), (&1.into(), &0.into(), &0.into(), &0.into()), "{it}");
        assert_eq!(host.ok("main_pid unwedge-runner"), pid, "it was the same all the while");
        host.ok("cd /srv/in; unwedge jobs submit --wait slow b");

        // a result that waits for that word is kept by whoever has to end, and put in its place by whoever comes next
        host.put("/etc/unwedge/jobs.d/long.toml", script("", "echo made >>/srv/out/.made; until test -e /srv/in/on; do sleep 0.05; done; cp $1 $2").as_bytes(), "644");
        for (nth, ends) in ["systemctl restart --no-block unwedge-runner", "systemctl kill -s KILL --kill-who=main unwedge-runner"].iter().enumerate() {
            let id = nth as u64 + 3;
            host.ok(&format!("systemctl reload unwedge-runner; rm -f /srv/in/on; echo x >/srv/in/l{id}; cd /srv/in; unwedge jobs submit long l{id}"));
            host.until(&format!("cd /; unwedge jobs why {id} | grep -q '^running'"));
            host.ok(&format!("systemctl stop lab-pg; touch /srv/in/on; sleep 2; (! test -e /srv/out/l{id}); {ends}; sleep 6"));
            host.ok("ls -A /srv/out | grep -q -- '-note'; sleep 1; systemctl start lab-pg");
            host.until(&format!("cd /; unwedge jobs show {id} | grep -qx 'state      done'"));
            let it = job(&host, id);
            assert_eq!((&it["tries"], &it["failures"], &it["tier"]), (&2.into(), &0.into(), &"1".into()), "{it}");
            assert_eq!(host.ok("wc -l </srv/out/.made"), (nth + 1).to_string(), "it is not made twice");
            host.ok("test -z \"$(ls -A /srv/out | grep unwedge)\"");
        }

        // how a try ended is kept on disk meanwhile, and handed in by whoever comes next
        host.ok("cd /srv/in; unwedge jobs submit fails a");
        host.until("cd /; unwedge jobs why 5 | grep -q '^running'");
        host.ok("systemctl stop lab-pg; touch /srv/in/fail; sleep 2; systemctl kill -s KILL --kill-who=main unwedge-runner; sleep 2; systemctl start lab-pg");
        host.until("cd /; unwedge jobs list --state quarantined | grep -q /srv/in/a");
        let it = job(&host, 5);
        assert_eq!((&it["tries"], &it["failures"], &it["rescues"]), (&1.into(), &1.into(), &0.into()), "{it}");
    }
}

host_test! {
    fn jobs_of_a_worker_that_is_gone_go_back_and_what_is_old_goes_only_where_that_is_permitted(host) {
        furnish(&host, &[("t", &script("", "test -e /srv/in/go || sleep 4321; cp $1 $2"))], "keep_done = \"1s\"");
        host.ok("systemctl start unwedge-runner; cd /srv/in; tee a b <<<x; touch go; unwedge jobs submit --wait t a; rm go; unwedge jobs submit t b");
        host.until("cd /; unwedge jobs why 2 | grep -q '^running'");
        host.ok("systemctl kill -s KILL unwedge-runner; systemctl stop unwedge-runner");
        let metric = |line: &str| host.ok(&format!("grep -Fx '{line}' {TEXTFILES}/unwedge_jobs.prom"));
        host.ok("sleep 1.1; unwedge-jobs --apply >/dev/null");
        assert_eq!((job(&host, 1)["state"].as_str(), job(&host, 2)["state"].as_str()), (Some("done"), Some("running")));
        metric("unwedge_tool_armed{tool=\"jobs\"} 0");
        metric("unwedge_lane_jobs{lane=\"t\",state=\"running\"} 1");
        metric("unwedge_lane_workers{lane=\"t\"} 0");

        host.put("/etc/unwedge/sentinels/jobs", b"armed by a test\n", "644");
        host.put("/etc/unwedge/sentinels/HALT", b"not now\n", "644");
        host.ok("unwedge-jobs --apply >/dev/null");
        assert_eq!(job(&host, 1)["state"], "done", "HALT is there");
        let said = host.ok("rm /etc/unwedge/sentinels/HALT; unwedge-jobs --apply");
        assert!(said.contains("1 jobs given back\n") && said.ends_with("1 done taken out"), "{said}");
        let it = job(&host, 2);
        assert_eq!((&it["state"], &it["rescues"], &it["class"]), (&"retryable".into(), &1.into(), &"crashed".into()), "{it}");
        let gone = host.bash("cd /; unwedge jobs show 1");
        assert!(gone.code == Some(1) && gone.stderr.contains("job 1: there is none"), "{gone:?}");
        host.ok("test -s /srv/out/a -a -s /srv/in/a");
        metric("unwedge_jobs_removed{state=\"done\"} 1");
        metric("unwedge_lane_workers{lane=\"t\"} 0");
        metric("unwedge_lane_jobs{lane=\"t\",state=\"retryable\"} 1");
        metric("unwedge_queue_workers{state=\"dead\"} 0");
        host.ok("systemctl start unwedge-runner; sleep 0.5; unwedge-jobs --apply >/dev/null");
        metric("unwedge_lane_workers{lane=\"t\"} 1");
        // as its unit does it, in its sandbox
        host.put("/etc/systemd/system/unwedge-jobs.service", &shipped("unwedge-jobs.service"), "644");
        host.ok("systemctl daemon-reload; systemctl start unwedge-jobs.service");
        metric("unwedge_lane_workers{lane=\"t\"} 1");
    }
}

host_test! {
    fn what_is_wrong_with_types_lanes_and_signs_of_life_is_a_row_and_its_command_mends_it(host) {
        furnish(&host, &[
            ("good", &script("", "cp $1 $2")),
            ("second", "output = \"/srv/out/{name}\"\n[[tier]]\nargv = [\"/nowhere/tool\"]\n[[tier]]\nargv = [\"/bin/cp\", \"{input}\", \"{output}\"]\n"),
            ("lacking", "output = \"/srv/out/{name}\"\n[[tier]]\nargv = [\"/nowhere/tool\"]\n"),
            ("wrong", "output = 7\n"),
        ], "[[heartbeat]]\nname = \"scanner\"\npath = \"/srv/in/.sign\"\nmax_age = \"1h\"\n\
            [[bucket]]\nname = \"far\"\nendpoint = \"http://127.0.0.1:9\"\nbucket = \"x\"\nkey_file = \"/etc/unwedge/key\"\n");
        host.put("/etc/unwedge/key", b"some:secret\n", "600");
        let rows = |check: &str| -> Vec<String> {
            host.ok("unwedge-jobs --apply >/dev/null 2>&1 || test $? = 1");
            let ran = host.bash("unwedge doctor --json");
            let said: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
            let rows = said["rows"].as_array().unwrap().iter().filter(|row| row["check"] == check);
            let word = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
            rows.map(|row| format!("{} {}: {}|{}", word(row, "grade"), word(row, "subject"), word(row, "evidence"), word(row, "command"))).collect()
        };
        host.ok("chown unwedge /etc/unwedge/key; touch /srv/in/.sign; systemctl start unwedge-runner");
        host.until(&format!("grep -q '^unwedge_runner_bucket_answers.* 0' {TEXTFILES}/unwedge_runner.prom"));
        let far = "fault far: it does not answer the runner, or not to its key: what lies there waits (journalctl -u unwedge-runner)|";
        assert_eq!(rows("buckets"), [far]);
        let types = rows("job-types");
        for (row, expected) in types.iter().zip(["fault wrong: nothing of it is taken, or it stays as it was: /etc/unwedge/jobs.d/wrong.toml:1", "ok good: ", "fault lacking: not on this host: /nowhere/tool", "warn second: its first tool is not here; 2 does its jobs"]) {
            assert!(row.starts_with(expected), "{types:#?}");
        }
        assert_eq!(types.len(), 4, "{types:#?}");
        assert_eq!(rows("lanes"), ["good", "lacking", "second"].map(|lane| format!("ok {lane}: 0 jobs wait|")));
        assert_eq!(rows("heartbeats"), ["ok scanner: fresh|"]);
        for check in ["stalled", "quarantine"] {
            let found = rows(check);
            assert!(found.len() == 3 && found.iter().all(|row| row.starts_with("ok ")), "{check}: {found:?}");
        }
        assert_eq!(rows("workers"), ["ok : every worker is heard|"]);
        // a runner that is up is not started: what it lacks it says itself
        host.ok("cd /srv/in; touch x; unwedge jobs submit lacking x");
        assert_eq!(rows("lanes")[1], "fault lacking: 1 jobs wait, and no worker takes them, though a runner is up here: its list says what is missing|unwedge workers list");
        host.ok("cd /; unwedge workers list | grep -q 'not lacking: not on this host: /nowhere/tool'; unwedge jobs cancel 1");
        host.ok("touch -d '2 hours ago' /srv/in/.sign; cd /srv/in; tee a b c <<<x; unwedge jobs submit --wait good a; unwedge lanes pause good --because test; unwedge jobs submit good b");
        assert_eq!(rows("heartbeats"), ["warn scanner: stale: whatever needs it waits (unwedge incidents)|"]);
        assert_eq!(rows("lanes")[0], "warn good: it is closed: a person paused it|unwedge lanes resume good");
        host.ok("unwedge lanes resume good; systemctl stop unwedge-runner; cd /srv/in; unwedge jobs submit good c");
        let found = rows("lanes");
        let start = "systemctl start --no-block unwedge-runner.service";
        assert!(found[0].starts_with("fault good: ") && found[0].ends_with(&format!("no worker takes them|{start}")), "{found:?}");
        host.ok(start);
        host.until("test -s /srv/out/c");
        assert_eq!(rows("lanes")[0], "ok good: 0 jobs wait|");
    }
}

host_test! {
    fn a_full_disk_keeps_the_jobs_that_write_there_and_no_others_and_they_start_by_themselves(host) {
        furnish(&host, &[
            ("big", "output = \"/srv/small/{name}\"\n[[tier]]\nargv = [\"/bin/cp\", \"{input}\", \"{output}\"]\n"),
            ("near", &script("", "cp $1 $2")),
        ], "min_free_mib = 8\nmin_free_inodes = 10");
        host.ok("mkdir /srv/small; mount -t tmpfs -o size=16m,nr_inodes=100,mode=1777 tmpfs /srv/small; head -c 10000000 /dev/zero >/srv/small/filler
             systemctl start unwedge-runner; cd /srv/in; tee a b c <<<x");
        host.ok("cd /srv/in; unwedge jobs submit big a; unwedge jobs submit --wait near b");
        let why = host.ok("cd /; unwedge jobs why 1");
        assert!(why.starts_with("no-capable-worker: ") && why.contains("/srv/small: no room: 6 MiB are free, and 8 must be"), "{why}");
        let said = host.bash("cd /srv/in; unwedge jobs submit --require-capable big c 2>&1");
        assert!(said.code == Some(1) && said.stdout.contains("/srv/small: no room"), "{said:?}");
        assert_eq!((&job(&host, 1)["state"], &job(&host, 1)["tries"]), (&"pending".into(), &0.into()));
        host.ok("rm /srv/small/filler");
        host.until("test -s /srv/small/a");
        let journal = host.ok("journalctl --sync; journalctl -b -q -o cat -u unwedge-runner");
        assert!(journal.contains("big: where it writes all is well again"), "{journal}");
        // of inodes there may be too few beside any number of bytes
        host.ok("for nth in {1..100}; do touch /srv/small/f$nth 2>/dev/null || :; done");
        host.until("cd /; unwedge workers list | grep -q 'not big: /srv/small: no room: 0 inodes are free, and 10 must be'");
        host.ok("cd /srv/in; unwedge jobs submit big b; sleep 1");
        assert_eq!((&job(&host, 3)["state"], &job(&host, 3)["tries"]), (&"pending".into(), &0.into()));
        host.ok("rm /srv/small/f*");
        host.until("test -s /srv/small/b");
    }
}

host_test! {
    fn a_type_whose_results_have_no_place_waits_for_one_and_no_try_is_used(host) {
        let to = |dir: &str| format!("output = \"{dir}/{{name}}\"\n[[tier]]\nargv = [\"/bin/cp\", \"{{input}}\", \"{{output}}\"]\n");
        furnish(&host, &[("late", &to("/srv/late")), ("sent", &format!("{}[deliver]\nargv = [\"/bin/cp\", \"{{from}}\", \"/srv/out/{{name}}\"]\n", to("/srv/sent"))), ("near", &script("", "cp $1 $2"))], "poll = \"200ms\"");
        host.ok("systemctl start unwedge-runner; cd /srv/in; tee a b c d <<<x; unwedge jobs submit late a");
        let waits = |why: &str| {
            // read anew, it is looked at at once
            host.ok("systemctl reload unwedge-runner");
            host.until(&format!("cd /; unwedge jobs why 1 | grep -q '^no-capable-worker: .*/srv/late: {why}'"));
            let it = job(&host, 1);
            assert_eq!((&it["state"], &it["tries"], &it["infra_errors"]), (&"pending".into(), &0.into(), &0.into()), "{it}");
        };
        waits("there is no such directory");
        // nobody else waits for that, and what is delivered elsewhere needs no place here
        host.ok("cd /srv/in; unwedge jobs submit --wait near b; unwedge jobs submit --wait sent d; test -s /srv/out/d");
        host.ok("mkdir /srv/late");
        waits("no file can be made there: Permission denied");
        host.ok("mount -t tmpfs -o ro,mode=1777 tmpfs /srv/late");
        waits("no file can be made there: Read-only file system");
        host.ok("mount -o remount,rw /srv/late");
        host.until("test -s /srv/late/a");
        assert_eq!(job(&host, 1)["tries"], 1);
        // one that is said from where its jobs are put in is not looked for from here
        kind(&host, "relative", &to("out"));
        host.ok("systemctl reload unwedge-runner; cd /srv; unwedge jobs submit --wait relative in/c; test -s /srv/out/c");
        // of those that lie beside their inputs it is known once one is begun, and is not that one's fault
        kind(&host, "beside", "output = \"{input}.out\"\n[[tier]]\nargv = [\"/bin/cp\", \"{input}\", \"{output}\"]\n");
        host.ok("systemctl reload unwedge-runner; cd /srv/in; unwedge jobs submit beside c");
        host.until("cd /; unwedge jobs show --json 5 | grep -q '\"class\":\"infrastructure\"'");
        let it = job(&host, 5);
        assert_eq!((&it["failures"], &it["infra_errors"]), (&0.into(), &1.into()), "{it}");
        assert!(it["message"].as_str().unwrap().contains("no file can be made in /srv/in: Permission denied"), "{it}");
    }
}

host_test! {
    fn room_is_looked_at_where_each_result_lies_and_not_where_most_do(host) {
        furnish(&host, &[("t", &script("", "cp $1 $2"))], "");
        configure(&host, "min_free_mib = 8\nmin_free_inodes = 10\npoll = \"200ms\"", "[[mount]]\npath = \"/srv/out/small\"\nfstype = \"tmpfs\"\n");
        kind(&host, "t", "output = \"/srv/out/{stem}/{name}\"\n[[tier]]\nargv = [\"/bin/cp\", \"{input}\", \"{output}\"]\n");
        host.ok("cd /srv/out; install -d -o unwedge large small; mount -t tmpfs -o size=16m,mode=1777 tmpfs small; head -c 10000000 /dev/zero >small/filler
                 unwedge-mounts --apply >/dev/null || :; grep -q '/srv/out/small' /run/unwedge/storage.json; systemctl start unwedge-runner
                 cd /srv/in; tee small.1 large.1 <<<x; unwedge jobs submit t small.1; unwedge jobs submit --wait t large.1");
        let why = host.ok("cd /; unwedge jobs why 1");
        assert!(why.starts_with("storage-closed: ") && why.contains("/srv/out/small (no room)"), "{why}");
        let it = job(&host, 1);
        assert_eq!((&it["state"], &it["tries"]), (&"pending".into(), &0.into()), "{it}");
        host.ok("rm /srv/out/small/filler");
        host.until("test -s /srv/out/small/small.1");
        let journal = host.ok("journalctl --sync; journalctl -b -q -o cat -u unwedge-runner");
        for said in ["/srv/out/small: nothing is taken that writes there: /srv/out/small: no room: 6 MiB are free, and 8 must be", "/srv/out/small: there is room again"] {
            assert!(journal.contains(said), "{journal}");
        }
        // beside its input there may be less room than anywhere else, and the other way round
        kind(&host, "b", "output = \"{input}.x\"\n[[tier]]\nargv = [\"/bin/cp\", \"{input}\", \"{output}\"]\n");
        host.ok("systemctl reload unwedge-runner; install -d /srv/tiny; mount -t tmpfs -o size=4m,mode=1777 tmpfs /srv/tiny; echo x >/srv/tiny/a; chown unwedge /srv/in
                 cd /; unwedge jobs submit --wait b /srv/in/large.1; unwedge jobs submit b /srv/tiny/a");
        host.until("cd /; unwedge jobs show 4 | grep -q '/srv/tiny: no room: 3 MiB are free, and 8 must be\\|/srv/tiny: no room: 4 MiB'");
        let it = job(&host, 4);
        assert_eq!((&it["state"], &it["failures"], &it["infra_errors"]), (&"pending".into(), &0.into(), &0.into()), "{it}");
        host.ok("test ! -e /srv/tiny/a.x; umount /srv/tiny");
    }
}

host_test! {
    fn signs_of_life_on_storage_that_hangs_leave_one_child_each_and_hide_no_other(host) {
        furnish(&host, &[], "");
        host.put("/etc/systemd/system/unwedge-jobs.service", &shipped("unwedge-jobs.service"), "644");
        // nobody watches that storage, and there is no queue
        let one = |name: &str, path: &str| format!("[[heartbeat]]\nname = \"{name}\"\npath = \"{path}\"\nmax_age = \"1h\"\n");
        let mut text = format!("[host]\ntextfile_dir = \"{TEXTFILES}\"\n{}", one("well", "/srv/heart"));
        for nth in 1..=4 {
            text += &one(&format!("h{nth}"), &format!("/srv/storagebox/sign{nth}"));
        }
        host.put("/etc/unwedge/unwedge.toml", text.as_bytes(), "644");
        host.ok("systemctl daemon-reload; touch /srv/heart; kill -STOP $(server_pid)");
        let states = |expected: &[(&str, &str)]| {
            for (name, state) in expected {
                host.ok(&format!("grep -Fx 'unwedge_heartbeat_state{{name=\"{name}\",state=\"{state}\"}} 1' {TEXTFILES}/unwedge_jobs.prom"));
            }
        };
        for _ in 0..3 {
            host.ok(&format!("rm -f {TEXTFILES}/unwedge_jobs.prom; systemctl start unwedge-jobs.service; test $(systemctl show -P ActiveState unwedge-jobs) = inactive"));
            states(&[("well", "fresh"), ("h1", "unknown"), ("h4", "unknown")]);
            host.ok("test $(pgrep -c '^ua[0-9a-f]{12}$') = 4");
        }
        host.ok("kill -CONT $(server_pid)");
        host.until("(! pgrep '^ua[0-9a-f]{12}$')");
        host.ok("systemctl start unwedge-jobs.service");
        states(&[("well", "fresh"), ("h1", "absent"), ("h4", "absent")]);
    }
}

host_test! {
    fn a_sign_of_life_and_a_look_at_room_leave_one_child_each_on_storage_that_hangs(host) {
        // nobody watches that storage
        let far = "output = \"/srv/storagebox/{name}\"\n[[tier]]\nargv = [\"/bin/cp\", \"{input}\", \"{output}\"]\n";
        furnish(&host, &[("near", &script("", "cp $1 $2")), ("far", far)], "sign_path = \"/srv/storagebox/sign\"");
        host.ok("chmod 777 /srv/remote; kill -STOP $(server_pid); systemctl start unwedge-runner
                 echo x >/srv/in/a; unwedge jobs submit --wait near /srv/in/a");
        // each has been asked for several times by then
        for _ in 0..2 {
            host.ok("sleep 22");
        }
        host.ok("test $(pgrep -c '^ua[0-9a-f]{12}$') = 2; kill -CONT $(server_pid)");
        host.until_within(Duration::from_secs(130), "grep -q schema /srv/remote/sign");
        host.until("(! pgrep '^ua[0-9a-f]{12}$')");
    }
}

host_test! {
    fn a_job_that_needs_a_sign_of_life_waits_while_there_is_none_and_its_age_is_told(host) {
        furnish(&host, &[("t", &script("needs = [\"heartbeat:scan\"]", "cp $1 $2")), ("u", &script("", "cp $1 $2"))], "poll = \"200ms\"");
        configure(&host, "poll = \"200ms\"", "[[heartbeat]]\nname = \"scan\"\npath = \"/srv/heart\"\nmax_age = \"1h\"\n");
        host.put("/etc/systemd/system/unwedge-jobs.service", &shipped("unwedge-jobs.service"), "644");
        let round = |state: &str| {
            host.ok("systemctl start unwedge-jobs.service");
            host.ok(&format!("grep -Fx 'unwedge_heartbeat_state{{name=\"scan\",state=\"{state}\"}} 1' {TEXTFILES}/unwedge_jobs.prom"));
        };
        host.ok("systemctl daemon-reload; systemctl start unwedge-runner; cd /srv/in; tee a b <<<x; unwedge jobs submit t a; unwedge jobs submit --wait u b");
        round("absent");
        // an incident from the first round over the mounts that knows of it until the first that sees it fresh
        let incident = || host.ok("unwedge-mounts --apply >/dev/null; unwedge incidents --json");
        host.arm();
        let told = incident();
        assert!(told.contains("heartbeat:scan") && told.contains("absent"), "{told}");
        host.until("cd /; unwedge jobs why 1 | grep -q '^storage-closed: .*heartbeat:scan'");
        host.ok("touch -d '2 hours ago' /srv/heart");
        round("stale");
        host.ok(&format!("grep -Eq '^unwedge_heartbeat_age_seconds.name=.scan.. 7[23]' {TEXTFILES}/unwedge_jobs.prom"));
        let said = host.ok("unwedge-jobs --apply");
        assert!(said.contains("heartbeat scan: stale, 2 h old"), "{said}");
        host.ok("touch -d '+2 hours' /srv/heart");
        round("skewed");
        host.ok("sleep 0.5; (! test -e /srv/out/a); touch /srv/heart");
        round("fresh");
        host.until("test -s /srv/out/a");
        let told: Value = serde_json::from_str(&incident()).unwrap();
        assert_eq!(told["incidents"][0]["open"], false, "{told:#}");
    }
}

host_test! {
    fn a_file_that_is_put_down_is_at_work_within_seconds_and_goes_when_it_is_done(host) {
        furnish(&host, &[("t", &script("", "cp $1 $2"))], "");
        configure(&host, "", "[[intake]]\nname = \"drop\"\ntype = \"t\"\npath = \"/srv/drop\"\nafter = \"delete\"\nevery = \"1s\"\n");
        host.put("/etc/unwedge/sentinels/jobs", b"armed by a test\n", "644");
        host.ok("install -d -o unwedge /srv/drop; systemctl start unwedge-runner; echo x >/srv/drop/.a; mv /srv/drop/.a /srv/drop/a");
        host.until("test -s /srv/out/a -a ! -e /srv/drop/a");
        let it = job(&host, 1);
        let waited = it["started_ms"].as_u64().unwrap() - it["created_ms"].as_u64().unwrap();
        assert!(it["state"] == "done" && waited < 5_000, "{it}");
        // as often as it looks by itself, from the moment that the file was there
        configure(&host, "", "[[intake]]\nname = \"drop\"\ntype = \"t\"\npath = \"/srv/drop\"\nafter = \"delete\"\n");
        let put: u64 = host.ok("systemctl restart unwedge-runner; echo x >/srv/drop/.c; date +%s%3N; mv /srv/drop/.c /srv/drop/c").parse().unwrap();
        host.until("test -s /srv/out/c -a ! -e /srv/drop/c");
        let it = job(&host, 2);
        assert!(it["started_ms"].as_u64().unwrap() - put < 5_000, "{put}: {it}");
        // one that is known to be complete by staying the same is looked at every two seconds until it is, however seldom else
        configure(&host, "", "[[intake]]\nname = \"drop\"\ntype = \"t\"\npath = \"/srv/drop\"\nafter = \"delete\"\nrule = \"stable\"\nevery = \"10s\"\n");
        let put: u64 = host.ok("systemctl stop unwedge-runner; echo x >/srv/drop/d; date +%s%3N; systemctl start unwedge-runner").parse().unwrap();
        host.until("test -s /srv/out/d -a ! -e /srv/drop/d");
        let it = job(&host, 3);
        let took = it["created_ms"].as_u64().unwrap() - put;
        assert!((4_000..10_000).contains(&took), "{took}: {it}");
        configure(&host, "", "[[intake]]\nname = \"drop\"\ntype = \"t\"\npath = \"/srv/drop\"\nafter = \"delete\"\n");
        // the slow way, without a service
        host.put("/etc/systemd/system/unwedge-jobs.service", &shipped("unwedge-jobs.service"), "644");
        host.ok("systemctl daemon-reload; systemctl stop unwedge-runner; setpriv --reuid=unwedge --regid=unwedge --init-groups -- sh -c 'echo y >/srv/drop/b'; systemctl start unwedge-jobs.service");
        assert_eq!(job(&host, 4)["state"], "pending");
        host.ok("setpriv --reuid=unwedge --regid=unwedge --init-groups -- unwedge-runner --once; test -s /srv/out/b -a -e /srv/drop/b
                 systemctl start unwedge-jobs.service; ! test -e /srv/drop/b");
    }
}

host_test! {
    fn an_intake_whose_service_is_killed_again_and_again_ends_as_if_it_was_not(host) {
        furnish(&host, &[("t", &script("", "sleep 0.$((RANDOM % 3)); cp $1 $2"))], "");
        configure(&host, "rescues = 1000\npoll = \"200ms\"", "[[intake]]\nname = \"drop\"\ntype = \"t\"\npath = \"/srv/drop\"\nafter = \"delete\"\nevery = \"1s\"\n");
        host.put("/etc/unwedge/sentinels/jobs", b"armed by a test\n", "644");
        host.ok("install -d -o unwedge /srv/drop; for n in $(seq 60); do echo $n >/srv/drop/.x; mv /srv/drop/.x /srv/drop/$n; done; systemctl start unwedge-runner");
        // wherever it is: at work, between result and record, at a deletion
        for nth in 0..12 {
            host.ok(&format!("sleep 1.{}; systemctl kill -s KILL unwedge-runner; rm -f /var/lib/unwedge/queue/runner.json", nth * 7 % 10));
        }
        // what was lost twice and last waits half a minute, and then for the next look at the intake
        host.until_within(Duration::from_secs(90), "test -z \"$(ls -A /srv/drop)\"");
        host.ok("for n in $(seq 60); do test \"$(cat /srv/out/$n)\" = $n; done; test $(ls -A /srv/out | wc -l) = 60");
        let all = host.ok("cd /; unwedge --json jobs list --state done --most 100");
        let all: Value = serde_json::from_str(&all).unwrap();
        let jobs = all["jobs"].as_array().unwrap();
        assert!(jobs.len() == 60 && jobs.iter().all(|it| it["failures"] == 0), "{all}");
        assert!(jobs.iter().any(|it| it["rescues"].as_u64() > Some(0)), "nothing was lost with it: {all}");
    }
}

host_test! {
    fn a_type_that_is_taken_many_at_a_time_keeps_no_other_back(host) {
        furnish(&host, &[("many", &script("batch = 50", "sleep 0.5; cp $1 $2")), ("other", &script("", "cp $1 $2"))], "slots = 2");
        host.ok("systemctl start unwedge-runner; cd /srv/in; for n in $(seq 40) x; do echo $n >$n; done; unwedge jobs submit many $(seq 40) >/dev/null");
        host.until("test -s /srv/out/1");
        host.ok("cd /srv/in; unwedge jobs submit --wait --timeout 10s other x; test ! -e /srv/out/30");
        // and all that was taken goes back as it was when it is asked to end
        host.ok("systemctl stop unwedge-runner");
        let left = host.ok("cd /; unwedge --json jobs list --type many --state pending,retryable,running");
        let left: Value = serde_json::from_str(&left).unwrap();
        for it in left["jobs"].as_array().unwrap() {
            assert!(it["state"] != "running" && it["failures"] == 0 && it["rescues"] == 0, "{it}");
        }
        assert!(left["jobs"].as_array().unwrap().len() > 10, "{left}");
    }
}

/// Answers a listing with nothing, and notes by whose key it was asked.
const LISTS: &str = "#!/usr/bin/python3
import http.server, urllib.parse
class Bucket(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = dict(urllib.parse.parse_qsl(self.path.partition('?')[2]))
        with open('/run/asked', 'a') as out:
            out.write(query.get('X-Amz-Credential', '').partition('/')[0] + '\\n')
        body = b'<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>scans</Name><Prefix></Prefix><KeyCount>0</KeyCount><MaxKeys>1</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>'
        self.send_response(200)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(('127.0.0.1', 8090), Bucket).serve_forever()
";

host_test! {
    fn the_key_of_a_bucket_comes_as_a_credential_of_the_unit(host, needs "/usr/bin/python3") {
        crate::install::bare(&host);
        host.put("/usr/local/bin/lists", LISTS.as_bytes(), "755");
        let bucket = "[[bucket]]\nname = \"scans\"\nendpoint = \"http://127.0.0.1:8090\"\nkey_credential = \"scans\"\n";
        configure(&host, "", bucket);
        host.ok(&format!("mount --make-shared /run; mkdir -p {TEXTFILES} /etc/credstore
            systemd-run --quiet --unit=lists /usr/local/bin/lists
            until timeout 1 bash -c ': <>/dev/tcp/127.0.0.1/8090' 2>/dev/null; do sleep 0.02; done
            echo lent:s3cr3t >/etc/credstore/scans; chmod 600 /etc/credstore/scans
            /opt/unwedge/unwedge install --enable runner --start"));
        host.until(&format!("grep -q 'unwedge_runner_bucket_answers{{name=\"scans\"}} 1' {TEXTFILES}/unwedge_runner.prom"));
        assert_eq!(host.ok("sort -u /run/asked"), "lent");
        // nobody else has it, and it is in nothing that they can read
        host.ok("(! grep -rqs s3cr3t /etc/unwedge /var/lib/unwedge /run/unwedge /var/lib/prometheus /etc/systemd)
            (! journalctl --no-pager | grep -q s3cr3t); journalctl --no-pager | grep -q 'begins as'");
        // one that is not there keeps what lies in the bucket waiting and nothing else, and says what is missing
        host.ok("rm /etc/credstore/scans; systemctl restart unwedge-runner");
        host.until(&format!("grep -q 'unwedge_runner_bucket_answers{{name=\"scans\"}} 0' {TEXTFILES}/unwedge_runner.prom"));
        let said = host.ok("journalctl -u unwedge-runner -n 20 --no-pager -o cat");
        assert!(said.contains("credential scans: there is none") && said.contains("/etc/credstore/scans"), "{said}");
    }
}

host_test! {
    fn a_host_whose_worker_is_the_runner_is_installed_from_nothing_and_all_is_well(host) {
        crate::install::bare(&host);
        let config = "[jobs]\n[[intake]]\nname = \"in\"\ntype = \"copy\"\npath = \"/srv/in\"\n[probe]\ndaemons = \"here\"\n";
        host.put("/etc/unwedge/unwedge.toml", config.as_bytes(), "644");
        kind(&host, "copy", &script("", "cp $1 $2"));
        host.ok(&format!("mkdir -p {TEXTFILES} /srv/in /srv/out
            /opt/unwedge/unwedge install --enable jobs,runner,worker,verify --start
            chown unwedge /srv/in /srv/out; unwedge sentinel arm jobs --because test
            systemctl start unwedge-jobs unwedge-worker"));
        host.ok("cd /; unwedge jobs smoke; echo x >/srv/in/a");
        host.until("test -e /srv/out/a");
        let ran = host.bash("unwedge sentinel arm notify");
        assert!(ran.stderr.contains("no rehearsal of this kind; give --because"), "{ran:?}");
        // the rest is that this host has nobody who reads metrics or keeps its clock, and that not all is switched on
        let ran = host.bash("cd /; unwedge jobs submit --wait copy /etc/hostname; verify-ops --quiet");
        assert!(ran.code == Some(1) && ran.stdout.contains(" -> /srv/out/hostname"), "{ran:?}");
        let known = ["switched-on", "sentinels", "clock", "node-exporter", "metrics  "];
        let bad = |line: &&str| line.starts_with("warn ") || line.starts_with("unknown ") || line.starts_with("fault ");
        let odd = |line: &&str| !known.iter().any(|it| line.contains(it));
        let odd: Vec<&str> = ran.stdout.lines().filter(bad).filter(odd).collect();
        assert_eq!(odd, [""; 0], "{ran:?}");
        host.ok("cd /; unwedge status; unwedge workers list; systemctl stop unwedge-runner; unwedge uninstall; test ! -e /usr/local/bin/unwedge-runner");
    }
}

host_test! {
    fn who_puts_a_job_in_as_root_starts_the_unit_where_nobody_takes_it_and_that_is_wanted(host) {
        furnish(&host, &[("t", &script("", "cp $1 $2"))], "poll = \"200ms\"");
        host.ok("cd /srv/in; tee a b c <<<x; unwedge jobs submit t a; test $(systemctl show -P ActiveState unwedge-runner) = inactive");
        configure(&host, "poll = \"200ms\"\nautostart = true", "");
        host.ok("cd /srv/in; unwedge jobs submit --dry-run t b; test $(systemctl show -P ActiveState unwedge-runner) = inactive");
        host.ok("cd /srv/in; unwedge jobs submit --wait t b; test -s /srv/out/a; test -s /srv/out/b; test $(systemctl show -P ActiveState unwedge-runner) = active");
        // whoever is not root is told who is there, and what starts one
        let as_other = |words: &str| host.bash(&format!("cd /srv/in; setpriv --reuid=unwedge --regid=unwedge --init-groups unwedge {words} 2>&1"));
        let said = as_other("workers start");
        assert!(said.code == Some(0) && said.stdout.contains("is there already"), "{said:?}");
        host.ok("systemctl stop unwedge-runner");
        let said = as_other("jobs submit t c");
        assert!(said.code == Some(0) && said.stdout.contains("only root may start it: systemctl start unwedge-runner.service"), "{said:?}");
    }
}

host_test! {
    fn jobs_that_end_within_their_time_are_done_before_the_runner_ends(host) {
        furnish(&host, &[("long", &script("", "touch /srv/out/began-$(basename $1); until test -e /srv/in/go; do sleep 0.05; done; cp $1 $2"))], "drain = \"40s\"");
        host.ok("systemctl start unwedge-runner; echo x >/srv/in/a; cd /srv/in; unwedge jobs submit long a b");
        host.until("test -e /srv/out/began-a");
        // systemd would start one again that was only asked to end: it is stopped by that, which waits for what it has
        let would = host.ok("cd /; unwedge workers stop --here --dry-run");
        assert!(would.starts_with("would be asked to end: "), "{would}");
        // who is named wrongly stops nobody, nor does a name that is empty, or another queue
        let own = "$(unwedge workers list --json | grep -o '\"id\":\"[^\"]*' | cut -d'\"' -f4)";
        for (words, code, why) in [
            (format!("nobody {own}"), 1, "nobody was asked"),
            ("''".to_owned(), 2, "a worker without a name"),
            ("--here --queue sqlite:///run/other.db".to_owned(), 1, "there is no queue there"),
        ] {
            let said = host.bash(&format!("cd /; unwedge workers stop {words} 2>&1"));
            assert!(said.code == Some(code) && said.stdout.contains(why), "{said:?}");
            host.ok("test $(systemctl show -P ActiveState unwedge-runner) = active; cd /; (! unwedge --json workers list | grep -q '\"draining\"')");
        }
        host.ok("(cd /; unwedge workers stop --here >/run/said 2>&1; echo $? >>/run/said) & disown");
        host.until("cd /; unwedge --json workers list | grep -q '\"draining\"'");
        host.ok("(! grep -q . /run/said); touch /srv/in/go");
        host.until("grep -qx 0 /run/said");
        assert!(host.ok("cat /run/said").starts_with("ended: "));
        host.until("test $(systemctl show -p ActiveState --value unwedge-runner) = inactive; cd /; unwedge workers list --dead | grep -q 'no worker is there'");
        // what was at work is done, and nothing more was begun
        assert_eq!(host.ok("cat /srv/out/a; ls /srv/out"), "x\na\nbegan-a");
        let (one, other) = (job(&host, 1), job(&host, 2));
        assert_eq!((&one["state"], &one["tries"], &other["state"], &other["tries"]), (&"done".into(), &1.into(), &"pending".into(), &0.into()));
    }
}
