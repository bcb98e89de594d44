//! Tests of the limits: both sides of each, and the place in each message.

use super::super::doctor::Doctor;
use super::super::{Settings, from_str};
use super::*;

const ROOTS: &str = "[mounts]\nrepair_under = [\"/srv\"]\n";

#[track_caller]
fn check(text: &str) -> Settings {
    match from_str(text) {
        Ok(settings) => settings,
        Err(problems) => panic!("{text}\nrefused: {problems}"),
    }
}

#[track_caller]
fn check_refused(text: &str, expected: &[&str]) {
    match from_str(text) {
        Ok(_) => panic!("{text}\naccepted, expected {expected:?}"),
        Err(problems) => {
            assert_eq!(problems.to_string().lines().collect::<Vec<_>>(), expected, "{text}");
        }
    }
}

/// One refused text with one problem that contains the words.
#[track_caller]
fn check_word(text: &str, word: &str) {
    let told = from_str(text).expect_err(text).to_string();
    assert!(
        told.lines().count() == 1 && told.contains(word),
        "{text}\ntold: {told}\nexpected: {word}"
    );
}

fn mount(keys: &str) -> String {
    format!("[[mount]]\npath = \"/srv/a\"\n{keys}\n")
}

#[test]
fn nothing_written_gives_the_defaults() {
    assert_eq!(check(""), Settings::default());
    assert_eq!(check("[host]\n[mounts.confirm]\n[mounts.budget]\n"), Settings::default());
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let Settings {
        host,
        gates,
        probe,
        mounts,
        mount,
        binds,
        bind,
        queue,
        worker,
        metrics,
        notify,
        doctor,
        jobs,
        heartbeat,
        bucket,
        intake,
        file,
    } = Settings::default();
    assert_eq!((queue, worker, jobs, file), (None, None, None, None));
    assert_eq!((heartbeat, intake, bucket), (vec![], vec![], vec![]));
    assert_eq!((metrics.prefix.as_str(), notify, doctor), ("unwedge", None, Doctor::default()));
    let s = Duration::from_secs;
    assert_eq!(host.user, "unwedge");
    assert_eq!(host.services, Services::Systemd);
    let paths = [
        (host.state_dir, "/var/lib/unwedge"),
        (host.run_dir, "/run/unwedge"),
        (host.sentinel_dir, "/etc/unwedge/sentinels"),
        (host.textfile_dir, "/var/lib/prometheus/node-exporter"),
        (host.systemctl, "/usr/bin/systemctl"),
        (host.journalctl, "/usr/bin/journalctl"),
        (gates.deploy_lock, "/run/unwedge/deploy.lock"),
    ];
    for (path, expected) in paths {
        assert_eq!(path, Path::new(expected));
    }
    assert_eq!(probe.timeout, s(5));
    assert_eq!((mounts.deadline, mounts.watch), (s(240), Watch::Listed));
    assert_eq!((mounts.repair_under, mount), (vec![], vec![]));
    assert_eq!((binds.manifest, binds.jobs, bind), (None, None, vec![]));
    let all = [
        mounts.confirm.dead,
        mounts.confirm.hung,
        mounts.confirm.absent,
        mounts.confirm.pinned,
        mounts.confirm.stacked,
        mounts.confirm.transient,
    ];
    assert_eq!(
        all.map(|it| (it.runs, it.age)),
        [(1, s(0)), (2, s(120)), (2, s(0)), (2, s(0)), (2, s(0)), (5, s(120))]
    );
    let budget = mounts.budget;
    assert_eq!(
        (budget.cooldown, budget.per_hour, budget.per_day, budget.per_target_per_day),
        (s(900), 2, 6, 3)
    );
}

#[test]
fn paths_are_absolute_and_plain() {
    for (text, expected) in [
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b"),
        ("//a///b//", "/a/b"),
        ("/a/..b/.c", "/a/..b/.c"),
        ("/", "/"),
    ] {
        assert_eq!(
            check(&format!("host.state_dir = \"{text}\"")).host.state_dir.as_os_str(),
            expected
        );
    }
    for text in ["", "a/b", "./a", "~/a", "/a/../b", "/a/./b", "/..", "/a\\u0000b"] {
        check_word(&format!("host.state_dir = \"{text}\""), "<text>:1: [host] state_dir: ");
    }
}

#[test]
fn every_path_is_checked() {
    let keys = [
        "host.state_dir",
        "host.run_dir",
        "host.sentinel_dir",
        "host.textfile_dir",
        "host.systemctl",
        "host.journalctl",
        "gates.deploy_lock",
    ];
    for key in keys {
        check_word(&format!("{key} = \"relative\""), "is relative, expected an absolute path");
    }
    check_word(
        "mounts.repair_under = [\"relative\"]",
        "[mounts] repair_under[0]: \"relative\" is relative",
    );
    check_word(
        "[[mount]]\npath = \"relative\"",
        "<text>:2: [[mount]] path: \"relative\" is relative",
    );
}

#[test]
fn the_root_of_the_host_is_never_repaired() {
    check("mounts.repair_under = [\"/srv\"]");
    for root in ["/", "//"] {
        check_word(&format!("mounts.repair_under = [\"{root}\"]"), "would allow every mount");
        check_word(&format!("[[mount]]\npath = \"{root}\""), "is the root of the host");
    }
}

#[test]
fn nothing_is_listed_twice() {
    check("mounts.repair_under = [\"/a\", \"/a/b\", \"/ab\"]");
    check_refused(
        "mounts.repair_under = [\n\"/a\",\n\"/a/\"]",
        &["<text>:3: [mounts] repair_under[1]: \"/a\" is listed twice"],
    );
    check("[[mount]]\npath = \"/a\"\n[[mount]]\npath = \"/a/b\"\n");
    check_refused(
        "[[mount]]\npath = \"/a\"\n[[mount]]\npath = \"/a/\"\n",
        &["<text>:4: [[mount]] path: \"/a\" is already listed at <text>:2; one [[mount]] a path"],
    );
}

#[test]
fn a_mount_names_its_path() {
    check_refused(
        "\n[[mount]]\nwait = \"1s\"\n",
        &["<text>:2: [[mount]] path: missing; each [[mount]] names its mount point"],
    );
}

#[test]
fn a_unit_must_look_like_one() {
    let longest = format!("{}.service", "a".repeat(247));
    for name in [
        "a.service",
        "srv-a.mount",
        "a.automount",
        "x.target",
        "sshfs@srv-a\\\\x2db.service",
        "A_1:b.service",
        &longest,
    ] {
        check(&mount(&format!("unit = \"{name}\"")));
    }
    let too_long = format!("{}.service", "a".repeat(248));
    for name in [
        "",
        "a",
        "a.timer",
        "a.socket",
        ".service",
        "-a.service",
        "a b.service",
        "a/b.mount",
        "ä.service",
        "a@.service",
        "@a.service",
        "a\\n.service",
        &too_long,
    ] {
        check_word(&mount(&format!("unit = \"{name}\"")), "<text>:3: [[mount]] unit: ");
    }
}

#[test]
fn a_command_is_an_absolute_program_and_arguments() {
    let process = |argv: &str| {
        format!("host.services = \"process\"\n{}", mount(&format!("remount = {argv}")))
    };
    let settings = check(&process("[\"/bin/mount\", \"\", \"../a\"]"));
    assert_eq!(
        settings.mount[0].remount.as_deref(),
        Some(&["/bin/mount".into(), String::new(), "../a".into()][..])
    );
    check_word(&process("[]"), "[[mount]] remount: is empty");
    check_word(&process("[\"mount\"]"), "[[mount]] remount[0]: \"mount\" is relative");
    check_word(&process("[\"\"]"), "[[mount]] remount[0]: \"\" found, expected an absolute path");
    check_word(&process("[\"/bin/mount\", \"a\\u0000\"]"), "[[mount]] remount[1]: holds a NUL");
}

#[test]
fn units_and_commands_each_need_their_services() {
    let unit = mount("unit = \"a.service\"");
    let remount = mount("remount = [\"/bin/mount\"]");
    check(&format!("host.services = \"systemd\"\n{unit}"));
    check(&format!("host.services = \"process\"\n{remount}"));
    for services in ["systemd", "process"] {
        check(&format!("host.services = \"{services}\"\n{unit}\nremount = [\"/bin/mount\"]"));
    }
    check_word(
        &format!("host.services = \"systemd\"\n{remount}"),
        "[[mount]] remount: only with [host] services = \"process\"",
    );
    check_word(&remount, "[[mount]] remount: only with [host] services = \"process\"");
    check_word(
        &format!("host.services = \"process\"\n{unit}"),
        "[[mount]] unit: only with [host] services = \"systemd\"",
    );
}

#[test]
fn choices_are_words_of_a_list() {
    assert_eq!(check("mounts.watch = \"remote\"").mounts.watch, Watch::Remote);
    check_refused(
        "mounts.watch = \"remot\"",
        &[
            "<text>:1: [mounts] watch: \"remot\" found, expected \"listed\" or \"remote\"; did you mean \"remote\"?",
        ],
    );
    check_word("host.services = \"Systemd\"", "did you mean \"systemd\"?");
    check_word("host.services = \"\"", "expected \"systemd\" or \"process\"");
}

#[test]
fn user_source_and_type_are_plain_words() {
    check("host.user = \"svc-jobs_1\"");
    for user in ["", "-a", "a b", "a:b", "a/b"] {
        check_word(&format!("host.user = \"{user}\""), "is no user name");
    }
    check(&mount("source = \"u1@box:/data dir\"\nfstype = \"fuse.sshfs\""));
    check_word(&mount("source = \"\""), "[[mount]] source: ");
    check_word(&mount("fstype = \"a\\nb\""), "[[mount]] fstype: ");
}

#[test]
fn the_probe_timeout_is_from_100_ms_to_5_min() {
    let roomy = "mounts.deadline = \"1h\"\n";
    check(&format!("{roomy}probe.timeout = \"100ms\""));
    check_word(
        &format!("{roomy}probe.timeout = \"99ms\""),
        "<text>:2: [probe] timeout: 99ms is too short, expected at least 100ms",
    );
    check(&format!("{roomy}probe.timeout = \"5m\""));
    check_word(
        &format!("{roomy}probe.timeout = \"5m 1ns\""),
        "5m 1ns is too long, expected at most 5m",
    );
    check_word("probe.timeout = 0", "0s is too short");
}

#[test]
fn a_wait_is_above_0_and_at_most_1_h() {
    check(&mount("wait = \"1ns\""));
    check_word(&mount("wait = \"0s\""), "[[mount]] wait: 0s found, expected more than 0");
    check_word(&mount("wait = 0"), "[[mount]] wait: 0s found, expected more than 0");
    check(&mount("wait = \"1h\""));
    check_word(&mount("wait = \"1h 1ns\""), "1h 1ns is too long, expected at most 1h");
    assert_eq!(check(&mount("")).mount[0].wait, Duration::from_secs(60));
}

#[test]
fn a_duration_needs_its_unit_in_words_and_as_a_number() {
    check_word(
        "probe.timeout = 5",
        "<text>:1: [probe] timeout: \"5\" has a number without a unit, expected one such as \"5s\"",
    );
    check_word("probe.timeout = \"5\"", "has a number without a unit");
    check_word("mounts.budget.cooldown = \"1month\"", "the longest unit is the week");
    check_word("mounts.budget.cooldown = -1", "expected a number and a unit");
    assert_eq!(check("mounts.confirm.hung.age = 0").mounts.confirm.hung.age, Duration::ZERO);
}

#[test]
fn confirmations_are_1_to_100_runs() {
    for kind in ["dead", "hung", "absent", "pinned", "stacked", "transient"] {
        let runs = |n| format!("mounts.confirm.{kind}.runs = {n}");
        check(&runs(1));
        check(&runs(100));
        check_word(
            &runs(0),
            &format!("<text>:1: [mounts.confirm.{kind}] runs: 0 found, expected 1 to 100"),
        );
        check_word(&runs(101), "101 found, expected 1 to 100");
        check_word(&runs(-1), "-1 found, expected 1 to 100");
    }
}

#[test]
fn budgets_are_0_to_1000() {
    for key in ["per_hour", "per_day", "per_target_per_day"] {
        let budget = |n: i64| format!("mounts.budget.{key} = {n}");
        check(&budget(0));
        check(&budget(1000));
        check_word(
            &budget(1001),
            &format!("<text>:1: [mounts.budget] {key}: 1001 found, expected 0 to 1000"),
        );
        check_word(&budget(-1), "-1 found, expected 0 to 1000");
        check_word(&budget(1 << 32), "expected 0 to 1000");
    }
}

#[test]
fn the_deadline_is_at_most_1_h() {
    check("mounts.deadline = \"1h\"");
    check_word(
        "mounts.deadline = \"1h 1ns\"",
        "<text>:1: [mounts] deadline: 1h 1ns is too long, expected at most 1h",
    );
}

#[test]
fn the_deadline_holds_its_parts() {
    check("mounts.deadline = \"25s\"");
    check_refused(
        "\nmounts.deadline = \"24s 999ms\"",
        &["<text>:2: [mounts] deadline: 24s 999ms is too short, expected at least 25s: \
           2 x [probe] timeout (10s) + lock (10s) + waits of 0 [[mount]] under repair_under (0s) + reports (5s)"],
    );
    let two = "[[mount]]\npath = \"/srv/a\"\nunit = \"a.service\"\nwait = \"90s\"\n[[mount]]\npath = \"/srv/b\"\nunit = \"b.mount\"\n";
    check(&format!("{ROOTS}deadline = \"175s\"\n{two}"));
    check_word(
        &format!("{ROOTS}deadline = \"174s\"\n{two}"),
        "<text>:3: [mounts] deadline: 2m 54s is too short, expected at least 2m 55s: 2 x [probe] timeout (10s) + lock (10s) + waits of 2 [[mount]] under repair_under (2m 30s) + reports (5s)",
    );
}

#[test]
fn a_deadline_nobody_wrote_is_called_default() {
    let waits = |wait: &str| {
        format!("{ROOTS}[[mount]]\npath = \"/srv/a\"\nunit = \"a.service\"\nwait = \"{wait}\"\n")
    };
    check(&waits("215s"));
    check_word(
        &waits("216s"),
        "default: [mounts] deadline: 4m is too short, expected at least 4m 1s",
    );
}

#[test]
fn only_mounts_that_would_be_repaired_count() {
    let tight = "[mounts]\nrepair_under = [\"/srv\"]\ndeadline = \"25s\"\n";
    check(&format!("{tight}[[mount]]\npath = \"/srv/a\"\n"));
    check(&format!("{tight}[[mount]]\npath = \"/srvX/a\"\nunit = \"a.service\"\n"));
    check_word(
        &format!("{tight}[[mount]]\npath = \"/srv/a\"\nunit = \"a.service\"\n"),
        "expected at least 1m 25s",
    );
    let process = format!(
        "host.services = \"process\"\n{tight}[[mount]]\npath = \"/srv\"\nremount = [\"/bin/mount\"]\n"
    );
    check_word(&process, "waits of 1 [[mount]]");
}

#[test]
fn all_problems_are_told_at_once() {
    check_refused(
        "[probe]\ntimeout = \"1ms\"\n[mounts]\nwatch = \"x\"\nrepair_under = [\"/\"]\n[mounts.budget]\nper_day = 2000\n[[mount]]\npath = \"a\"\nunit = \"u\"\nwait = \"2h\"\n",
        &[
            "<text>:2: [probe] timeout: 1ms is too short, expected at least 100ms",
            "<text>:5: [mounts] repair_under[0]: \"/\" would allow every mount of the host to be repaired; name the directories that hold job storage",
            "<text>:4: [mounts] watch: \"x\" found, expected \"listed\" or \"remote\"",
            "<text>:7: [mounts.budget] per_day: 2000 found, expected 0 to 1000",
            "<text>:9: [[mount]] path: \"a\" is relative, expected an absolute path",
            "<text>:10: [[mount]] unit: \"u\" is no unit that mounts, expected a name ending in .service, .mount, .automount, .target",
            "<text>:11: [[mount]] wait: 2h is too long, expected at most 1h",
        ],
    );
}

#[test]
fn roots_are_compared_by_whole_components() {
    let mounts = Mounts { repair_under: vec!["/srv/jobs".into()], ..Mounts::default() };
    for path in ["/srv/jobs", "/srv/jobs/", "/srv/jobs/a/b"] {
        assert!(mounts.is_under_root(Path::new(path)), "{path}");
    }
    for path in ["/srv", "/srv/jobsX", "/srv/jobs/../x", "srv/jobs", "", "/"] {
        assert!(!mounts.is_under_root(Path::new(path)), "{path}");
    }
    assert!(!Mounts::default().is_under_root(Path::new("/srv")));
}

#[test]
fn messages_are_lower_case_without_a_full_stop() {
    let texts =
        ["probe.timeout = 5", "host.user = \"\"", "mounts.watch = \"x\"", "[[mount]]", "x = 1"];
    for text in texts {
        let told = from_str(text).expect_err(text).to_string();
        let (_, message) = told.rsplit_once(": ").expect("a place before the message");
        assert!(!message.ends_with('.') && !message.starts_with(char::is_uppercase), "{told}");
    }
}

#[test]
fn a_bind_lies_on_a_listed_mount_and_in_nobodys_way() {
    let bind = |cold: &str, hot: &str| {
        format!("{}[[bind]]\ncold = \"{cold}\"\nhot = \"{hot}\"\n", mount(""))
    };
    let settings = check(&bind("/srv/a/x", "/srv/jobs/x/"));
    assert_eq!(settings.bind[0].hot, Path::new("/srv/jobs/x"));
    assert_eq!(settings.bind[0].base, Path::new("/srv/a"));
    // the base is the deepest that there is
    let deeper = format!("[[mount]]\npath = \"/srv/a/x\"\n{}", bind("/srv/a/x/y", "/srv/j"));
    assert_eq!(check(&deeper).bind[0].base, Path::new("/srv/a/x"));
    // hot below another mount, and below another hot, is right
    let nested = format!(
        "{}[[bind]]\ncold = \"/srv/a/z\"\nhot = \"/srv/jobs/x/z\"\n",
        bind("/srv/a/x", "/srv/jobs/x")
    );
    assert_eq!(check(&nested).bind.len(), 2);
    for (text, word) in [
        (
            bind("/srv/b/x", "/srv/jobs/x"),
            "<text>:6: [[bind]] hot: \"/srv/b/x\" lies at or below no [[mount]]",
        ),
        (bind("/srv/ab", "/srv/jobs/x"), "at or below no [[mount]]"),
        (bind("/srv/a/x", "/srv/a/y"), "in the way of its own storage"),
        (bind("/srv/a/x", "/srv/a"), "in the way of its own storage"),
        (bind("/srv/a/x", "/srv"), "in the way of its own storage"),
        (bind("/srv/a/x", "/"), "in the way of its own storage"),
        (bind("srv/a/x", "/srv/j"), "[[bind]] cold: \"srv/a/x\" is relative"),
        (bind("/srv/a/x", "/srv/../j"), "[[bind]] hot: "),
        (
            format!("{}[[mount]]\npath = \"/srv/j/deep\"\n", bind("/srv/a/x", "/srv/j")),
            "would cover the [[mount]]",
        ),
        (
            format!(
                "{}[[bind]]\ncold = \"/srv/a/y\"\nhot = \"/srv/j\"\n",
                bind("/srv/a/x", "/srv/j")
            ),
            "already listed",
        ),
        (format!("{}[[bind]]\nhot = \"/srv/j\"\n", mount("")), "[[bind]] cold: missing"),
    ] {
        check_word(&text, word);
    }
    let roots = |cold: &str, hot: &str| {
        format!("{}[binds]\ncold_root = \"{cold}\"\nhot_root = \"{hot}\"\n", mount(""))
    };
    let settings = check(
        &(roots("/srv/a/jobs", "/srv/jobs")
            + "[[bind]]\ncold = \"/srv/a/x\"\nhot = \"/srv/jobs/x\"\n"),
    );
    let of = |output: &str| settings.bind_of_output(Path::new(output));
    assert_eq!(of("/srv/jobs/2026/y").unwrap().unwrap().cold, Path::new("/srv/a/jobs/2026/y"));
    assert_eq!((of("/srv/jobs"), of("/srv/other/y"), of("/srv/jobs/x/deep")), (None, None, None));
    check_word(
        &roots("/srv/b", "/srv/jobs"),
        "[binds] cold_root: \"/srv/b/job\" lies at or below no [[mount]]",
    );
    check_word(&roots("/srv/a/jobs", "/srv/a"), "in the way of its own storage");
    check_word("[binds]\ncold_root = \"/srv/a\"\n", "[binds] cold_root: needs hot_root");
    check_word("[binds]\nmanifest = \"binds\"\n", "[binds] manifest: \"binds\" is relative");
}
