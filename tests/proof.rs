//! The proof: TUTORIAL.md, run command by command on a bare host, with the incident in its middle.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::install::package;
use crate::notify::HOOK;
use crate::support::host::{Host, STOP, storage_unit};

/// Its jobs are rows; one that fails is taken again after a while, and what it left when it was stopped too.
const WORKER: &str = r"#!/usr/bin/python3
import os, sqlite3, time
db = sqlite3.connect('/var/lib/app/queue.db', isolation_level=None, timeout=5)
db.execute('UPDATE jobs SET status = ? WHERE status = ?', ('queued', 'running'))
while True:
    if os.path.exists('/run/fails'): raise SystemExit(1)
    job = db.execute('''UPDATE jobs SET status = 'running', began = datetime('now') WHERE id = (SELECT id FROM jobs
        WHERE status = 'queued' ORDER BY id LIMIT 1) RETURNING id, dir''').fetchone()
    if not job:
        time.sleep(0.1)
        continue
    try:
        os.makedirs(job[1], exist_ok=True)
        for nth in range(10):
            with open(job[1] + '/part', 'a') as out: out.write(f'{nth}\n')
            time.sleep(0.1)
        os.rename(job[1] + '/part', job[1] + '/whole')
        db.execute('UPDATE jobs SET status = ?, ended = ended + 1 WHERE id = ?', ('done', job[0]))
    except OSError:
        time.sleep(1)
        db.execute('UPDATE jobs SET status = ? WHERE id = ?', ('queued', job[0]))
";

/// A host as TUTORIAL.md tells of, without unwedge: storage whose server can go away, a worker, its queue.
pub fn bare_host(host: &Host) {
    crate::install::bare(host);
    host.put(
        "/usr/local/bin/fake-ssh",
        b"#!/bin/sh\n[ ! -e /run/away ] || exit 255\nexec /usr/lib/openssh/sftp-server\n",
        "755",
    );
    let storage = storage_unit("/srv/storagebox")
        .replace("allow_other,", "allow_other,reconnect,ServerAliveInterval=15,");
    host.put("/etc/systemd/system/storagebox.service", storage.as_bytes(), "644");
    host.put("/usr/local/bin/example-worker", WORKER.as_bytes(), "755");
    let worker = "[Service]\nExecStart=/usr/local/bin/example-worker\nTimeoutStopSec=20\n[Install]\nWantedBy=multi-user.target\n";
    host.put("/etc/systemd/system/example-worker.service", worker.as_bytes(), "644");
    let queue = "import sqlite3; db = sqlite3.connect('/var/lib/app/queue.db'); db.executescript('CREATE TABLE jobs \
        (id INTEGER PRIMARY KEY, status TEXT NOT NULL, dir TEXT, began TEXT, ended INTEGER NOT NULL DEFAULT 0); CREATE INDEX s ON jobs (status)')";
    host.ok(&format!("{STOP}; mkdir -p /var/lib/app /srv/remote/jobs/a /srv/jobs/a /var/lib/prometheus/node-exporter
        python3 -c \"{queue}\"; systemctl daemon-reload; systemctl reset-failed; systemctl start storagebox; await_data
        systemctl enable --quiet storagebox example-worker"));
}

/// Blocks of this language of TUTORIAL.md, in order.
fn blocks(language: &str) -> Vec<String> {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("TUTORIAL.md")).unwrap();
    let fences = text.split("\n```").collect::<Vec<_>>();
    let of = |block: &&str| block.starts_with(&format!("{language}\n"));
    fences
        .into_iter()
        .filter(of)
        .map(|block| block.split_once('\n').unwrap().1.to_owned() + "\n")
        .collect()
}

/// The configuration of TUTORIAL.md.
pub fn configuration() -> String {
    blocks("toml").concat()
}

fn sql(host: &Host, statement: &str) -> String {
    host.ok(&format!(
        "python3 -c \"import sqlite3; db = sqlite3.connect('/var/lib/app/queue.db', timeout=5); \
        print(*(row[0] for row in db.execute('''{statement} '''))); db.commit()\""
    ))
}

/// Prometheus and Alertmanager with what is shipped, but for who is told and how long is waited.
fn furnish_alerts(host: &Host) {
    let docs = "/usr/share/doc/unwedge/alerts";
    host.put(
        "/etc/prometheus/prometheus.yml",
        b"global: {scrape_interval: 1s, evaluation_interval: 1s}\n\
        rule_files: [/etc/prometheus/unwedge.rules.yml]\n\
        alerting: {alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9093']}]}]}\n\
        scrape_configs: [{job_name: node, static_configs: [{targets: ['127.0.0.1:9100']}]}]\n",
        "644",
    );
    for (name, command) in [
        (
            "exporter",
            "/usr/bin/prometheus-node-exporter --collector.disable-defaults --collector.textfile \
            --collector.textfile.directory=/var/lib/prometheus/node-exporter --web.listen-address=127.0.0.1:9100",
        ),
        (
            "prometheus",
            "/usr/bin/prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/run/prometheus \
            --web.listen-address=127.0.0.1:9090",
        ),
        (
            "alertmanager",
            "/usr/bin/prometheus-alertmanager --config.file=/etc/prometheus/alertmanager.yml --storage.path=/run/alertmanager \
            --web.listen-address=127.0.0.1:9093 --cluster.listen-address=",
        ),
    ] {
        host.put(
            &format!("/etc/systemd/system/{name}.service"),
            format!("[Service]\nExecStart={command}\n").as_bytes(),
            "644",
        );
    }
    host.ok(&format!("sed '/alert: UnwedgeStorageUnrecovered/,/annotations:/s/for: 15m/for: 2s/' {docs}/unwedge.rules.yml >/etc/prometheus/unwedge.rules.yml
        sed 's#https://\\(pager\\|mail\\).example.invalid/unwedge#http://127.0.0.1:8080/\\1#; s/group_wait: 30s/group_wait: 1s/; s/group_interval: 5m/group_interval: 5s/' \
            {docs}/alertmanager.example.yml >/etc/prometheus/alertmanager.yml
        systemctl daemon-reload; systemctl start exporter prometheus alertmanager"));
}

host_test! {
    fn from_a_package_to_a_night_that_heals_itself_and_back(
        host, needs "/usr/bin/dpkg-deb", needs "/usr/bin/prometheus", needs "/usr/bin/prometheus-alertmanager",
        needs "/usr/bin/prometheus-node-exporter", needs "/usr/bin/python3"
    ) {
        bare_host(&host);
        host.put("/root/unwedge_0.1.0_amd64.deb", &package("0.1.0"), "644");
        host.put("/usr/local/bin/hook", HOOK.as_bytes(), "755");
        host.put("/usr/bin/timedatectl", b"#!/bin/sh\necho yes\n", "755");
        host.ok("systemctl start example-worker; systemd-run --quiet --unit=hook /usr/local/bin/hook");
        let untouched = host.ok("systemctl show -P MainPID storagebox example-worker");
        let commands = blocks("sh");
        let run = |nth: usize| host.ok(&format!("cd /root; {}", commands[nth]));

        // 1. install
        run(0);
        assert!(run(1).contains("/srv/storagebox"), "the first look, with no configuration");
        // 2. say what there is
        host.put("/etc/unwedge/unwedge.toml", configuration().as_bytes(), "644");
        host.put("/etc/unwedge/ntfy.url", b"http://127.0.0.1:8080/ntfy\n", "600");
        run(2);
        furnish_alerts(&host);
        run(3);
        // 3. rehearse; not armed is a warning, and so is what waits for its first day
        let rehearsal: Vec<&str> = commands[4].lines().collect();
        assert!(host.ok(rehearsal[0]).contains("detach"), "the plan of the drill");
        let looked = host.bash(rehearsal[1]);
        assert!(matches!(looked.code, Some(0 | 1)), "{looked:?}");
        assert!(host.ok(rehearsal[2]).contains("sent"));
        // 4. arm
        let arming: Vec<&str> = commands[5].lines().collect();
        let (last, arming) = arming.split_last().unwrap();
        host.ok(&arming.join("\n"));
        let looked = host.bash(last);
        assert!(matches!(looked.code, Some(0 | 1)) && !looked.stdout.contains("fault "), "{looked:?}");
        assert_eq!(host.ok("systemctl show -P MainPID storagebox example-worker"), untouched, "up to here nobody's process was touched");
        assert_eq!(host.ok("grep -c ' /srv/jobs/a ' /proc/self/mountinfo"), "1");

        // 5. the night
        host.ok("python3 -c \"
import sqlite3
db = sqlite3.connect('/var/lib/app/queue.db', timeout=5)
for n in range(1, 5): db.execute('INSERT INTO jobs (id, status, dir) VALUES (?, ?, ?)', (n, 'queued', f'/srv/jobs/a/{n}'))
db.commit()\"");
        host.until("test -s /srv/remote/jobs/a/1/part");
        host.ok("rm -f /run/hooks; touch /run/away; kill -KILL $(main_pid)");
        let wait = |what: &str| {
            for _ in 0..12 {
                if host.bash(&format!("for i in $(seq 80); do {what} && exit 0; sleep 0.1; done; exit 1")).code == Some(0) {
                    return;
                }
            }
            panic!("never true: {what}\n{}", host.story());
        };
        wait("unwedge debts | grep -q 'worker example-worker'");
        let tell = "systemctl start unwedge-notify.service";
        host.ok(tell);
        wait("grep -q \"'/pager'\" /run/hooks");
        host.ok(&format!("rm /run/away; {tell}"));
        wait("! unwedge incidents | grep -q OPEN");
        wait("systemctl is-active -q example-worker");
        host.ok(tell);
        for _ in 0..3 {
            if sql(&host, "SELECT count(*) FROM jobs WHERE status = 'done'") == "4" { break; }
            host.bash("sleep 3");
        }
        assert_eq!(sql(&host, "SELECT sum(ended) FROM jobs"), "4", "each job is done once: {}", host.story());
        host.ok("for job in 1 2 3 4; do test $(tail -n 10 /srv/remote/jobs/a/$job/whole | wc -l) = 10; done");
        assert_eq!(host.ok("unwedge debts"), "nothing is owed");
        // one message when it began, one when it was over
        let hooks = host.ok("cat /run/hooks");
        let told: Vec<&str> = hooks.lines().filter(|line| line.contains("'/ntfy'")).collect();
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(told[0].contains("/srv/storagebox is dead") && told[1].contains("good again after"), "{told:#?}");
        // one page, and its end
        wait("grep \"'/pager'\" /run/hooks | grep -q '\"status\":\"resolved\",\"alerts\"'");
        let hooks = host.ok("cat /run/hooks");
        let pages: Vec<&str> = hooks.lines().filter(|line| line.contains("'/pager'")).collect();
        let firing: Vec<&&str> = pages.iter().filter(|line| line.contains("\"status\":\"firing\",\"alerts\"")).collect();
        assert_eq!(firing.len(), 1, "one page: {pages:#?}");
        assert!(firing[0].contains("UnwedgeStorageUnrecovered") && firing[0].contains("alert-storage-unrecovered.md"), "{firing:#?}");

        // 6. in the morning
        let morning: Vec<&str> = commands[6].lines().collect();
        let listed = host.ok(morning[0]);
        assert!(listed.lines().count() == 1 && listed.contains("over"), "one incident: {listed}");
        let story = host.ok(morning[1]);
        for word in ["opened: /srv/storagebox is dead", "stop-worker example-worker.service", "detach /srv/storagebox", "start-worker example-worker.service", "closed: everything"] {
            assert!(story.contains(word), "{word}: {story}");
        }
        println!("{story}");
        let doctor: Value = serde_json::from_str(&host.bash("unwedge doctor --json").stdout).unwrap();
        assert_ne!(doctor["grade"], "unknown", "{doctor:#}");

        // 7. stop, and take it away
        run(7);
        assert!(host.ok("unwedge sentinel list").contains("HALT"));
        run(8);
        assert_eq!(host.ok("ls /etc/unwedge/sentinels"), "HALT");
        let worker = host.ok("main_pid example-worker");
        run(9);
        assert_eq!(host.ok("ls /usr/bin/unwedge* /usr/bin/verify-ops /usr/lib/systemd/system/unwedge* /etc/systemd/system/*/*unwedge* 2>/dev/null || :"), "");
        assert_eq!(host.ok("main_pid example-worker"), worker, "the worker goes on");
        host.ok("systemctl restart example-worker; test -f /etc/unwedge/unwedge.toml -a -d /var/lib/unwedge/incidents");
    }
}
