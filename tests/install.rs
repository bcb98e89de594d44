//! Installing, upgrading and taking away, on a host with a real systemd: what is put there, what is asked before, and
//! that nobody's job is touched.

use std::collections::BTreeSet;
use std::path::Path;

use crate::quiesce::{self, queue};
use crate::support::host::{BASE, Host, listed, program};
use unwedge::config::container::Said;
use unwedge::config::from_str;
use unwedge::config::job_type::JobType;
use unwedge::manifest::{OPERATOR, TOOLS, files};
use unwedge::probes::records::{self, Debt, Debts};
use unwedge::sys::clock::Stamp;

/// Every program that is shipped.
pub fn programs() -> impl Iterator<Item = &'static str> {
    TOOLS.iter().map(|tool| tool.program).chain([OPERATOR])
}

/// Everything that an installation could have touched, with owner and mode; and the content of what was made on this
/// very host.
pub const TREE: &str = "{ places='/usr/local /usr/lib/systemd/system /usr/lib/sysusers.d /usr/lib/tmpfiles.d /etc'
    for place in /var/lib/unwedge /var/lib/prometheus /run/unwedge; do test ! -e $place || places=\"$places $place\"; done
    find $places -xdev -printf '%p %U:%G %m %y\\n'
    find $places -xdev -type f -cnewer /etc/machine-id -print0 | xargs -0 sha256sum; } | LC_ALL=C sort";

/// A host that has never heard of it; the programs lie unpacked in /opt/unwedge.
pub fn bare(host: &Host) {
    host.ok("rm -rf /etc/systemd/system/unwedge-* /usr/bin/unwedge* /usr/bin/verify-ops /etc/unwedge /var/lib/unwedge
         userdel unwedge 2>/dev/null || :
         systemctl daemon-reload; mkdir -p /opt/unwedge");
    for name in programs() {
        host.put(&format!("/opt/unwedge/{name}"), &program(name), "755");
    }
}

/// With storage, a worker and its queue in the configuration.
pub fn configured(host: &Host, more: &str) {
    host.configure("", &(listed("") + more + quiesce::CONFIG));
    host.put("/etc/systemd/system/worker.service", quiesce::UNIT.as_bytes(), "644");
    host.put("/usr/local/bin/worker", b"#!/bin/bash\nexec sleep infinity\n", "755");
    host.ok("mkdir -p /srv/elsewhere; systemctl daemon-reload");
}

/// The record of one debt.
fn owed(debt: impl FnOnce(Stamp, String) -> Debt) -> Vec<u8> {
    let since = Stamp { utc_ms: 1, boot_ms: 1, boot_id: "x".to_owned() };
    records::render(&Debts { debts: vec![debt(since, "a test".to_owned())] }).unwrap()
}

fn owed_mount() -> Vec<u8> {
    owed(|since, why| Debt::Mount { path: BASE.into(), since, why })
}

fn owed_worker() -> Vec<u8> {
    owed(|since, why| Debt::Worker {
        unit: "worker.service".to_owned(),
        was_enabled: true,
        since,
        why,
    })
}

host_test! {
    fn it_is_put_in_place_once_and_a_second_run_changes_nothing(host) {
        bare(&host);
        let before = host.ok(TREE);
        let dry = host.ok("/opt/unwedge/unwedge install --dry-run");
        assert!(dry.contains("write              /usr/local/bin/unwedge-mounts"), "{dry}");
        assert_eq!(host.ok(TREE), before, "a dry run wrote something");

        let said = host.ok("umask 077; /opt/unwedge/unwedge install");
        for there in [
            "/usr/local/bin/unwedge-watch",
            "/usr/local/lib/systemd/system/unwedge-mounts.timer",
            "/usr/local/share/man/man1/unwedge-install.1",
            "/usr/local/share/bash-completion/completions/unwedge",
            "/usr/local/share/zsh/site-functions/_unwedge",
            "/usr/local/share/doc/unwedge/playbooks/README.md",
            "/usr/local/share/doc/unwedge/sentinels.example/mounts",
            "/usr/local/share/doc/unwedge/unwedge.toml.example",
        ] {
            host.ok(&format!("test -f {there} -a -O {there}; su -s /bin/sh nobody -c 'cat {there}' >/dev/null"));
        }
        assert!(said.contains("unwedge wrote there"), "{said}");
        assert_eq!(host.ok("stat -c '%a %U:%G' /var/lib/prometheus/node-exporter /var/lib/unwedge/queue"),
            "3775 root:unwedge\n755 unwedge:unwedge");
        assert_eq!(host.ok("systemctl show -P FragmentPath unwedge-mounts.service; systemctl show -P ExecStart unwedge-mounts.service | grep -o 'path=[^ ]*'"),
            "/usr/local/lib/systemd/system/unwedge-mounts.service\npath=/usr/local/bin/unwedge-mounts");
        // nothing is armed, enabled or started
        assert_eq!(host.ok("ls /etc/unwedge/sentinels"), "");
        assert_eq!(host.ok("systemctl list-unit-files --no-legend 'unwedge-*' | awk '$2 == \"enabled\"'"), "");
        assert_eq!(host.ok("systemctl list-units --all --no-legend 'unwedge-*'"), "");
        assert_eq!(host.ok("systemd-analyze verify --man=no /usr/local/lib/systemd/system/unwedge-* 2>&1"), "");

        let before = host.ok(TREE);
        for program in ["/opt/unwedge/unwedge", "/usr/local/bin/unwedge"] {
            let again = host.ok(&format!("{program} install"));
            assert!(again.contains("everything is in place; nothing was changed"), "{again}");
            assert_eq!(host.ok(TREE), before);
        }
        // what an administrator decided about a file stays
        host.ok("chmod 700 /usr/local/bin/unwedge-watch; chgrp daemon /usr/local/bin/unwedge-watch; printf x >>/opt/unwedge/unwedge-watch");
        let said = host.ok("/opt/unwedge/unwedge install");
        assert!(said.contains("1 of 1 steps were done"), "{said}");
        assert_eq!(host.ok("stat -c '%a %U:%G' /usr/local/bin/unwedge-watch; cmp /usr/local/bin/unwedge-watch /opt/unwedge/unwedge-watch"), "700 root:daemon");
        // and what was changed by hand is kept
        host.ok("echo '# mine' >>/usr/local/lib/systemd/system/unwedge-mounts.timer");
        let said = host.ok("/opt/unwedge/unwedge install");
        assert!(said.contains("what was there is /usr/local/lib/systemd/system/unwedge-mounts.timer.kept-"), "{said}");
        host.ok("grep -q '# mine' /usr/local/lib/systemd/system/unwedge-mounts.timer.kept-*
                 ! grep -q '# mine' /usr/local/lib/systemd/system/unwedge-mounts.timer");
    }
}

host_test! {
    fn every_lack_is_told_with_its_command_before_anything_is_touched(host) {
        bare(&host);
        host.configure("", "[[mount]]\npath = \"/srv/storagebox\"\nunit = \"nowhere.service\"\n");
        host.ok("rm /usr/bin/systemd-sysusers; mkdir -p /usr/local/share/doc/unwedge/playbooks/README.md");
        let before = host.ok(TREE);
        let refused = host.bash("/opt/unwedge/unwedge install --enable worker 2>&1");
        assert_eq!(refused.code, Some(1), "{refused:?}");
        for lack in [
            "nothing was touched",
            "units-named    nowhere.service the configuration names it, and systemd says: not-found",
            "systemctl cat nowhere.service",
            "programs       /usr/bin/systemd-sysusers",
            "apt-get install systemd",
            "enable         worker there is no [worker] in the configuration",
            "node-exporter  /var/lib/metrics no node_exporter runs",
            "refused  /usr/local/share/doc/unwedge/playbooks/README.md: something that is no file is in its place",
        ] {
            assert!(refused.stdout.contains(lack), "{lack}: {}", refused.stdout);
        }
        assert_eq!(host.ok(TREE), before);
        // a configuration with a fault is one of the lacks
        host.put("/etc/unwedge/unwedge.toml", b"[mount]\n", "644");
        let refused = host.bash("/opt/unwedge/unwedge install 2>&1");
        assert!(refused.code == Some(1) && refused.stdout.contains("fault    config"), "{refused:?}");
    }
}

host_test! {
    fn a_repair_that_is_under_way_is_neither_cut_short_nor_left_half_done(host) {
        bare(&host);
        host.configure("", &listed(""));
        host.ok("/opt/unwedge/unwedge install --enable mounts --start");
        // who acts holds the deploy lock, shared; it ends while the removal waits, and owes something
        host.put("/run/debts.json", &owed_mount(), "600");
        host.put("/run/act", b"#!/bin/bash\nexec 9</run/unwedge/deploy.lock; flock -s 9; : >/run/acts; sleep 2\n\
            cp /run/debts.json /var/lib/unwedge/debts.json\n", "755");
        host.ok("systemd-run --quiet --unit=act /run/act; until test -e /run/acts; do sleep 0.02; done");
        let refused = host.bash("unwedge uninstall 2>&1");
        assert!(refused.code == Some(1) && refused.stdout.contains("debts          /srv/storagebox owed since"), "{refused:?}");
        host.ok("systemctl is-active -q unwedge-mounts.timer; test -x /usr/local/bin/unwedge-mounts");
    }
}

host_test! {
    fn the_metrics_directory_is_proved_by_writing_as_the_service_user(host) {
        bare(&host);
        host.configure("", "");
        // all looks well, and yet: what is above it lets nobody else through
        host.ok("mkdir -p /srv/closed/metrics; chmod 700 /srv/closed; sed -i 's#/var/lib/metrics#/srv/closed/metrics#' /etc/unwedge/unwedge.toml");
        let failed = host.bash("/opt/unwedge/unwedge install 2>&1");
        assert_eq!(failed.code, Some(1), "{failed:?}");
        assert!(failed.stdout.contains("can-write") && failed.stdout.contains("Permission denied"), "{}", failed.stdout);
        assert!(failed.stdout.contains("it is done in part; run it again once the cause is gone"), "{}", failed.stdout);
        host.ok("chmod 755 /srv/closed; /opt/unwedge/unwedge install");
    }
}

host_test! {
    fn a_role_is_chosen_enabled_and_started_and_settings_reach_the_units(host) {
        bare(&host);
        configured(&host, "");
        let text = host.ok("cat /etc/unwedge/unwedge.toml").replace("[mounts]", "[mounts]\ndeadline = \"5m\"");
        host.put("/etc/unwedge/unwedge.toml", text.as_bytes(), "644");
        host.ok("/opt/unwedge/unwedge install --only mounts,jobs,watch --enable mounts,jobs,watch --start");
        assert_eq!(host.ok("ls /usr/local/bin | grep unwedge"), "unwedge\nunwedge-jobs\nunwedge-mounts\nunwedge-watch");
        assert_eq!(host.ok("systemctl is-active unwedge-mounts.timer unwedge-jobs.timer unwedge-watch; systemctl is-enabled unwedge-mounts.timer unwedge-jobs.timer unwedge-watch"),
            "active\nactive\nactive\nenabled\nenabled\nenabled");
        assert_eq!(host.ok("systemctl show -P TimeoutStartUSec unwedge-mounts"), "5min 10s");
        // another directory than the package's: made for the service user, open to its unit, and written by it
        assert_eq!(host.ok("stat -c '%a %U:%G' /var/lib/metrics"), "3775 root:unwedge");
        queue(&host, &[(1, "done", "/srv/elsewhere/1")]);
        host.ok("systemctl start unwedge-jobs");
        host.ok("grep -q 'unwedge_tool_run_ok{tool=\"jobs\"} 1' /var/lib/metrics/unwedge_jobs.prom");
        let again = host.ok("unwedge install");
        assert!(again.contains("nothing was changed"), "{again}");
        // what nobody writes any more would look stale for ever
        host.ok("test -e /var/lib/metrics/unwedge_watch.prom");
        // a smaller role: what is not of it is switched off before it goes
        let said = host.ok("/opt/unwedge/unwedge install --only mounts");
        assert!(said.contains("switch-off         unwedge-watch.service"), "{said}");
        host.ok("! ls /var/lib/metrics/unwedge_watch.prom /var/lib/metrics/unwedge_jobs.prom 2>/dev/null");
        assert_eq!(host.ok("ls /usr/local/bin | grep unwedge; systemctl is-active unwedge-mounts.timer; systemctl show -P ActiveState,LoadState unwedge-watch unwedge-jobs.timer"),
            "unwedge\nunwedge-mounts\nactive\nnot-found\ninactive\n\nnot-found\ninactive");
    }
}

/// The worker is a program of ours, as a runner would be: it works on a job, and tells when it was ended.
const OWN_WORKER: &str = "[Service]\nExecStart=/bin/bash -c 'unwedge-mounts() { :; }; \
    trap \"echo ended >>/srv/elsewhere/out; exit 0\" TERM; /usr/local/bin/unwedge faultfs --control none /run/job & \
    for i in $(seq 80); do echo $i >>/srv/elsewhere/out; sleep 0.1; done; echo whole >>/srv/elsewhere/out; wait'\n\
    KillMode=mixed\n[Install]\nWantedBy=multi-user.target\n";

host_test! {
    fn an_upgrade_touches_no_job_and_the_worker_is_restarted_once_it_is_idle(host) {
        bare(&host);
        configured(&host, "");
        host.put("/etc/systemd/system/worker.service", OWN_WORKER.as_bytes(), "644");
        host.ok("/opt/unwedge/unwedge install --enable watch --start");
        queue(&host, &[(1, "running", "/srv/elsewhere/1")]);
        host.ok("mkdir -p /run/job
            systemctl daemon-reload; systemctl start worker; until grep -q ' /run/job ' /proc/self/mountinfo; do sleep 0.05; done");
        let (worker, watch) = (host.ok("main_pid worker"), host.ok("main_pid unwedge-watch"));
        // another build of the same programs
        host.ok("for program in /opt/unwedge/*; do printf x >>$program; done");
        let skipped = host.ok("/opt/unwedge/unwedge install --skip-restart --dry-run");
        assert!(skipped.contains("worker.service goes on with old code"), "{skipped}");
        let said = host.ok("/opt/unwedge/unwedge install");
        assert!(said.contains("worker.service: old code until idle; process "), "{said}");
        assert!(said.contains("restart            unwedge-watch.service"), "{said}");
        assert_ne!(host.ok("main_pid unwedge-watch; systemctl is-active -q unwedge-watch"), watch);
        let again = host.ok("unwedge install");
        assert!(again.contains("nothing was changed") && again.contains("old code until idle"), "{again}");
        // the job goes on to its end, in the same process, and all of it is there
        host.until("grep -q whole /srv/elsewhere/out");
        assert_eq!(host.ok("main_pid worker; grep -c '^[0-9]' /srv/elsewhere/out; grep -c ended /srv/elsewhere/out || :"), format!("{worker}\n80\n0"));
        queue(&host, &[(1, "done", "/srv/elsewhere/1")]);
        host.until(&format!("test $(main_pid worker) != {worker} -a $(main_pid worker) != 0"));
        host.until("test $(systemctl show -P ActiveState unwedge-worker-restart) = inactive");
        assert_eq!(host.ok("unwedge debts"), "nothing is owed");
        let again = host.ok("unwedge install");
        assert!(!again.contains("old code"), "{again}");
    }
}

host_test! {
    fn what_is_taken_away_leaves_a_host_as_it_was_and_a_worker_that_starts(host) {
        bare(&host);
        configured(&host, "[[bind]]\ncold = \"/srv/storagebox/a\"\nhot = \"/srv/hot/a\"\n");
        host.ok("mkdir -p /srv/remote/a");
        let clean = host.ok(TREE);
        host.ok("/opt/unwedge/unwedge install --enable mounts,binds,worker,watch --start --drop-ins worker-after-binds,binds-after-storage");
        host.put("/etc/unwedge/sentinels/binds", b"armed by a test\n", "644");
        host.ok("systemctl start unwedge-binds worker; systemctl stop worker");
        assert_eq!(host.ok("systemctl show -P Requires worker | grep -o unwedge-binds.service"), "unwedge-binds.service");
        let again = host.ok("unwedge install");
        assert!(again.contains("nothing was changed"), "a drop-in that was asked for once stays: {again}");
        // who is owed something would never get it
        host.put("/var/lib/unwedge/debts.json", &owed_worker(), "600");
        let refused = host.bash("unwedge uninstall 2>&1");
        assert!(refused.code == Some(1) && refused.stdout.contains("debts          worker.service owed since"), "{refused:?}");
        host.ok("systemctl is-active -q unwedge-watch; rm /var/lib/unwedge/debts.json");
        let dry = host.ok("unwedge uninstall --dry-run");
        assert!(dry.contains("switch-off         unwedge-mounts.timer"), "{dry}");
        host.ok("systemctl is-active -q unwedge-watch");
        // also with a configuration that does not hold any more
        host.ok("echo nonsense >>/etc/unwedge/unwedge.toml");
        host.ok("unwedge uninstall");
        host.ok("sed -i '$d' /etc/unwedge/unwedge.toml");
        let left = host.ok(TREE);
        let new: Vec<&str> = left.lines().filter(|line| !clean.contains(*line)).collect();
        let ours = ["/etc/unwedge", "/var/lib/unwedge", "/var/lib/prometheus", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/.pwd.lock", "/run/unwedge", "/var/lib/metrics"];
        let foreign: Vec<&&str> = new.iter().filter(|line| {
            // a directory that was made for a man page is nobody's
            let path = line.split(' ').find(|word| word.starts_with('/')).unwrap_or_default();
            !ours.iter().any(|it| path.starts_with(it)) && !line.ends_with(" d")
        }).collect();
        assert!(foreign.is_empty(), "{foreign:#?}");
        assert_eq!(host.ok("find /usr /etc /var/lib -xdev \\( -name '*unwedge*' -o -name 'verify-ops*' \\) ! -path '/etc/unwedge*' ! -path '/var/lib/unwedge*' 2>/dev/null"), "");
        host.ok("systemctl start worker; systemctl is-active -q worker");
    }
}

/// Whether all types, scripts and configurations that are installed can be used as they are there: every program that
/// one names is ours below `prefix`, or where the distribution has it.
#[track_caller]
fn names_what_is_there(host: &Host, prefix: &str) {
    let read = |name: &str| {
        let dir = format!("{prefix}/share/doc/unwedge");
        (format!("{dir}/{name}"), host.ok(&format!("cat {dir}/{name}")) + "\n")
    };
    let mut named = BTreeSet::new();
    for name in ["pdftext", "office", "ship", "boxed"] {
        let (path, text) = read(&format!("jobs.example/{name}.toml"));
        let kind = JobType::parse(Path::new(&path), &text).unwrap_or_else(|why| panic!("{why}"));
        for tier in kind.on_host(&Said::default()).unwrap().tiers {
            named.insert(tier.argv[0].clone());
            named.extend(tier.tools);
        }
    }
    for name in ["none", "desk", "server", "mixed", "scans"] {
        let (path, text) = read(&format!("jobs.example/{name}.toml"));
        let settings = from_str(&text).unwrap_or_else(|why| panic!("{path}: {why}"));
        let engine = settings.jobs.and_then(|jobs| jobs.run.engine);
        named.extend(engine.into_iter().filter_map(|argv| argv.first().cloned()));
    }
    let (path, text) = read("unwedge.toml.example");
    assert!(
        from_str(&text).unwrap() == from_str("").unwrap(),
        "{path} says other than the defaults"
    );

    let programs_in = |text: &str| -> BTreeSet<String> {
        let program = regex::Regex::new("(/[a-z]+)*/bin/[A-Za-z0-9_.-]*[A-Za-z0-9]").unwrap();
        program.find_iter(text).map(|it| it.as_str().to_owned()).collect()
    };
    let all = host.ok(&format!(
        "cat {prefix}/lib/systemd/system/unwedge-* {prefix}/lib/unwedge/* $(find {prefix}/share/doc/unwedge -type f)"
    ));
    let shipped: String = files::of(&TOOLS).map(files::File::as_shipped).collect();
    let (here, shipped) = (programs_in(&all), programs_in(&shipped));
    for path in &here {
        let (_, name) = path.rsplit_once('/').unwrap();
        if programs().any(|it| it == name) {
            host.ok(&format!("test {path} = {prefix}/bin/{name} -a -x {path}"));
        } else {
            assert!(shipped.contains(path), "{path}: who says that it is there?");
        }
    }
    let scripts = host.ok(&format!("cat {prefix}/lib/unwedge/*"));
    named.extend(programs_in(&scripts));
    let ours = format!("{prefix}/lib/unwedge/");
    for path in &named {
        if path.starts_with(&ours) {
            assert_eq!(host.ok(&format!("stat -c '%a %U:%G' {path}")), "755 root:root", "{path}");
        } else {
            let (_, name) = path.rsplit_once('/').unwrap();
            host.ok(&format!(
                "test -x {path} || (! command -v {name} && test {path} = /usr/bin/{name})"
            ));
        }
    }
    let scripts = named.iter().filter(|path| path.starts_with(&ours)).count();
    assert!(scripts == 3 && named.len() > 7, "{named:?}");
}

host_test! {
    fn what_is_installed_names_each_program_where_it_is(host) {
        bare(&host);
        host.ok("/opt/unwedge/unwedge install");
        names_what_is_there(&host, "/usr/local");
        host.ok("unwedge uninstall; test ! -e /usr/local/lib/unwedge -a ! -e /usr/local/share/doc/unwedge");
        host.ok("/opt/unwedge/unwedge install --prefix /usr");
        names_what_is_there(&host, "/usr");
        host.ok("unwedge uninstall; test ! -e /usr/lib/unwedge");
    }
}

/// A package of these programs, whose bytes differ by the version.
pub fn package(version: &str) -> Vec<u8> {
    let (built, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in programs() {
        let path = built.path().join(name);
        std::fs::write(&path, [program(name), version.as_bytes().to_vec()].concat()).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    }
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/deb");
    let made = std::process::Command::new(script)
        .args([built.path(), out.path()])
        .args([version, "none"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    std::fs::read(String::from_utf8_lossy(&made.stdout).trim()).unwrap()
}

host_test! {
    fn a_package_is_installed_upgraded_under_a_job_removed_and_purged(host, needs "/usr/bin/dpkg-deb") {
        bare(&host);
        host.ok("rm -rf /opt/unwedge");
        host.put("/run/old.deb", &package("0.1.0"), "644");
        host.put("/run/new.deb", &package("0.1.1"), "644");
        let before = host.ok(TREE);
        let said = host.ok("dpkg -i /run/old.deb 2>&1");
        assert!(said.contains("unwedge wrote there"), "{said}");
        assert_eq!(host.ok("dpkg --verify unwedge; stat -c '%a %U:%G' /var/lib/prometheus/node-exporter /usr/bin/unwedge; ls /etc/unwedge/sentinels"),
            "3775 root:unwedge\n755 root:root");
        assert_eq!(host.ok("systemctl list-unit-files --no-legend 'unwedge-*' | awk '$2 == \"enabled\"'; systemctl list-units --all --no-legend 'unwedge-*'"), "");
        names_what_is_there(&host, "/usr");
        configured(&host, "");
        host.put("/etc/systemd/system/worker.service", OWN_WORKER.replace("/usr/local/bin", "/usr/bin").as_bytes(), "644");
        host.ok("unwedge install --enable mounts,worker,jobs,watch --start --drop-ins mount-unit-on-failure");
        assert_eq!(host.ok("ls /usr/local/bin | grep unwedge || :"), "", "the package's own place is where it is");
        queue(&host, &[(1, "running", "/srv/elsewhere/1")]);
        host.ok("mkdir -p /run/job; systemctl daemon-reload; systemctl start worker
            until grep -q ' /run/job ' /proc/self/mountinfo; do sleep 0.05; done");
        let (worker, watch) = (host.ok("main_pid worker"), host.ok("main_pid unwedge-watch"));
        let said = host.ok("dpkg -i /run/new.deb 2>&1");
        assert!(said.contains("worker.service: old code until idle"), "{said}");
        assert_ne!(host.ok("main_pid unwedge-watch"), watch);
        assert_eq!(host.ok("dpkg --verify unwedge; systemctl is-active unwedge-mounts.timer unwedge-watch"), "active\nactive");
        host.until("grep -q whole /srv/elsewhere/out");
        assert_eq!(host.ok("main_pid worker; grep -c '^[0-9]' /srv/elsewhere/out; grep -c ended /srv/elsewhere/out || :"), format!("{worker}\n80\n0"));
        queue(&host, &[(1, "done", "/srv/elsewhere/1")]);
        host.until(&format!("test $(main_pid worker) != {worker} -a $(main_pid worker) != 0; test $(systemctl show -P ActiveState unwedge-worker-restart) = inactive"));

        host.ok("dpkg -r unwedge 2>&1");
        assert_eq!(host.ok("ls -d /usr/lib/unwedge /usr/bin/unwedge* /usr/bin/verify-ops /usr/lib/systemd/system/unwedge* /etc/systemd/system/*/*unwedge* /var/lib/metrics/unwedge* 2>/dev/null || :"), "");
        host.ok("test -f /etc/unwedge/unwedge.toml -a -f /var/lib/unwedge/installed.json; systemctl is-active -q worker; systemctl restart worker");
        host.ok("dpkg -i /run/new.deb 2>&1");
        host.put("/var/lib/unwedge/debts.json", &owed_worker(), "600");
        let refused = host.bash("dpkg -r unwedge 2>&1");
        assert!(refused.code != Some(0) && refused.stdout.contains("worker.service owed since"), "{refused:?}");
        host.ok("unwedge-worker --apply; unwedge debts | grep -q 'nothing is owed'; systemctl stop worker; dpkg --purge unwedge 2>&1");
        let left = host.ok("ls -A /etc/unwedge /var/lib/unwedge /var/lib/unwedge/queue 2>&1 || :");
        assert_eq!(left, "ls: cannot access '/etc/unwedge': No such file or directory\n/var/lib/unwedge:\nqueue\n\n/var/lib/unwedge/queue:\nqueue.db");
        let here: Vec<String> = before.lines().map(str::to_owned).collect();
        for line in host.ok(TREE).lines().filter(|line| line.contains("unwedge")) {
            assert!(here.iter().any(|it| it == line) || line.contains("/var/lib/unwedge") || line.contains("/run/unwedge"), "{line}");
        }
    }
}
