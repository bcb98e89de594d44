//! `unwedge-watch` as it is installed, on a real host with real sshfs and no timer: what starts a
//! round, what does not, and that it is never more than a waker.

use std::time::Duration;

use crate::support::host::{Host, listed, shipped, storage_unit};

/// Gauges of the watch, and waiting until no more rounds are started: longer than the gap between
/// two starts.
const HELP: &str = r#"
gauge() { sed -n "s/^unwedge_watch_$1 //p" /var/lib/metrics/unwedge_watch.prom; }
said() { journalctl --sync; journalctl -b -q -o cat --no-pager _COMM=unwedge-watch; }
# an end that is seen before the mount goes: what has no mount any more is no longer waited for
end() { local pid=$(main_pid ${1:-storagebox}); kill -KILL $pid; timeout 5 tail --pid=$pid -s 0.01 -f /dev/null; }
"#;
/// Longer than the debounce and the gap between two starts.
const QUIET: &str = "sleep 7";

fn ok(host: &Host, script: &str) -> String {
    host.ok(&format!("{HELP}{script}"))
}

fn until(host: &Host, script: &str) -> String {
    host.until(&format!("{HELP}{script}"))
}

/// Starts the watch; it is ready when this returns.
fn watch(host: &Host) {
    host.ok("systemctl start unwedge-watch; ! systemctl is-active -q unwedge-mounts.timer");
}

fn starts(host: &Host) -> usize {
    ok(host, "gauge starts").parse().unwrap()
}

/// A script, and how many milliseconds it took inside the host.
fn timed(host: &Host, script: &str) -> u64 {
    let ms = format!(
        "from=${{EPOCHREALTIME/./}}; {script}; echo $(((${{EPOCHREALTIME/./}} - from) / 1000))"
    );
    ok(host, &ms).lines().last().unwrap().parse().unwrap()
}

host_test! {
    fn a_killed_sshfs_is_live_again_without_a_timer_and_then_all_is_quiet(host) {
        host.arm();
        watch(&host);
        assert_eq!(ok(&host, "gauge daemons; gauge supported; gauge starts"), "1\n1\n0");
        // the second time it is another daemon, which nobody has named to the watch
        for nth in 1..=2 {
            let before = starts(&host);
            let ms = timed(&host, "kill -KILL $(main_pid); await_data");
            println!("{nth}: killed to readable {ms} ms");
            ok(&host, QUIET);
            let after = starts(&host);
            println!("{nth}: {} rounds", after - before);
            assert!((1..=3).contains(&(after - before)), "{}", host.story());
            ok(&host, QUIET);
            assert_eq!(starts(&host), after, "{}", host.story());
        }
        assert_eq!(host.rounds().len(), starts(&host), "nothing else started one");
        assert_eq!(ok(&host, "gauge daemons; gauge supported"), "1\n1");
        let said = ok(&host, "said");
        assert!(said.contains("of /srv/storagebox ended: starts unwedge-mounts.service"), "{said}");
        println!("{said}");
    }
}

host_test! {
    fn an_event_during_a_round_starts_exactly_one_more(host) {
        let second = storage_unit("/srv/second");
        host.put("/etc/systemd/system/second.service", second.as_bytes(), "644");
        let more = "[[mount]]\npath = \"/srv/second\"\nunit = \"second.service\"\n";
        host.configure_probe("4s", "confirm.hung = { runs = 1, age = \"1h\" }", &(listed("") + more));
        ok(&host, "mkdir /srv/second; systemctl daemon-reload; systemctl start second; await_data /srv/second");
        // a hang is no event, and nothing the watch looks at waits for it; a round on it takes as long
        // as its probe, and changes nothing, as it is not armed
        ok(&host, "kill -STOP $(grep -vx $(main_pid second) /sys/fs/cgroup$(systemctl show -P ControlGroup second)/cgroup.procs)
                   timeout 5 systemctl start unwedge-watch; systemctl start --no-block unwedge-mounts; timeout 10 bash -c 'until pgrep uw-; do sleep 0.02; done'
                   sleep 0.5; kill -KILL $(main_pid); sleep 1; umount --lazy /srv/storagebox
                   systemctl show -P ActiveState unwedge-mounts | grep -x activating");
        assert_eq!((starts(&host), host.rounds().len()), (0, 0), "{}", host.story());
        until(&host, "test $(gauge starts) = 1");
        ok(&host, QUIET);
        assert_eq!((starts(&host), host.rounds().len()), (1, 2), "{}", host.story());
        assert!(ok(&host, "said").contains("and 1 more"), "{}", host.story());
    }
}

host_test! {
    fn one_that_hangs_is_replaced_by_systemd_and_a_stop_ends_it_at_once(host) {
        let soon = b"[Service]\nWatchdogSec=3\nRestartSec=100ms\nTimeoutStopSec=1\n";
        host.put("/etc/systemd/system/unwedge-watch.service.d/soon.conf", soon, "644");
        host.arm();
        ok(&host, "systemctl daemon-reload");
        watch(&host);
        ok(&host, "sleep 5; test $(systemctl show -P NRestarts unwedge-watch) = 0");
        let before = ok(&host, "main_pid unwedge-watch");
        ok(&host, "kill -STOP $(main_pid unwedge-watch); sleep 0.1; kill -KILL $(main_pid)");
        let again = format!("pid=$(main_pid unwedge-watch); test $pid != 0 -a $pid != {before}; systemctl is-active -q unwedge-watch");
        until(&host, &again);
        assert_eq!(ok(&host, "systemctl show -P NRestarts unwedge-watch"), "1");
        // what happened while nobody watched is seen by the new one
        ok(&host, "await_data");
        let ms = timed(&host, "systemctl stop unwedge-watch");
        println!("stop: {ms} ms");
        assert!(ms < 2_000, "{ms} ms");
        assert_eq!(ok(&host, "systemctl show -P Result -P ActiveState unwedge-watch"), "success\ninactive");
    }
}

host_test! {
    fn mounts_of_others_start_nothing_and_cost_little(host) {
        host.configure("watch = \"remote\"", &listed(""));
        host.put("/etc/systemd/system/other.service", storage_unit("/mnt/other").as_bytes(), "644");
        ok(&host, "mkdir /mnt/other; systemctl daemon-reload; systemctl start other; await_data /mnt/other");
        watch(&host);
        assert_eq!(ok(&host, "gauge daemons"), "1");
        let cost = ok(&host, r#"
            ticks() { set -- $(</proc/$(main_pid unwedge-watch)/stat); echo $((${14} + ${15})); }
            before=$(ticks); from=${EPOCHREALTIME/./}
            mkdir -p /mnt/many /mnt/churn; mount -t tmpfs many /mnt/many
            for nth in $(seq 500); do mkdir /mnt/many/$nth; mount --bind /mnt/churn /mnt/many/$nth; done
            for nth in $(seq 1000); do mount -t tmpfs churn /mnt/churn; umount /mnt/churn; done
            echo "$(($(ticks) - before)) ticks in $(((${EPOCHREALTIME/./} - from) / 1000)) ms for 2,500 changes"
            kill -KILL $(main_pid other); sleep 1; umount --lazy /mnt/other
        "#);
        println!("{cost}");
        ok(&host, QUIET);
        assert_eq!((starts(&host), host.rounds().len()), (0, 0), "{}", host.story());
        // nor is it deaf now
        ok(&host, "umount --lazy /srv/storagebox");
        until(&host, "test $(gauge starts) = 1");
        assert!(ok(&host, "said").contains("/srv/storagebox went: starts"), "{}", host.story());
    }
}

host_test! {
    fn the_end_of_each_process_that_holds_a_connection_is_an_event(host) {
        ok(&host, r"
            mkdir /srv/two
            setsid bash -c 'exec 5<>/dev/fuse
                mount -i -n -t fuse.two -o fd=5,rootmode=40000,user_id=0,group_id=0 two /srv/two
                sleep 1000 & echo $! >/run/second; echo $$ >/run/first; wait' >/dev/null 2>&1 &
            timeout 5 bash -c 'until test -s /run/first; do sleep 0.02; done'");
        watch(&host);
        assert_eq!(ok(&host, "gauge daemons"), "3");
        ok(&host, "kill -KILL $(cat /run/first)");
        until(&host, "test $(gauge starts) = 1");
        until(&host, "test $(gauge daemons) = 2");
        ok(&host, "sleep 6; kill -KILL $(cat /run/second)");
        until(&host, "test $(gauge starts) = 2");
        until(&host, "systemctl is-active unwedge-mounts || grep -Fx 'unwedge_mount_state{path=\"/srv/two\",state=\"dead\"} 1' /var/lib/metrics/unwedge_mounts.prom");
    }
}

host_test! {
    fn a_daemon_that_cannot_be_seen_is_said_once_and_the_mount_table_still_wakes(host) {
        // by default nobody is ruled out who is not seen, and this host has a pid namespace of its own
        let config = ok(&host, "sed '/^.probe/,/^.mounts/{/^daemons/d}' /etc/unwedge/unwedge.toml");
        host.put("/etc/unwedge/unwedge.toml", config.as_bytes(), "644");
        ok(&host, "mkdir /srv/elsewhere");
        let mut daemon = host.start_outside(&[
            "/usr/bin/sshfs", "-f", "-o", "ssh_command=/usr/local/bin/fake-ssh", "lab:/srv/remote", "/srv/elsewhere",
        ]);
        until(&host, "grep -q ' /srv/elsewhere ' /proc/self/mountinfo");
        watch(&host);
        assert_eq!(ok(&host, "gauge supported; gauge daemons"), "0\n1");
        // looks that find the same say nothing
        ok(&host, "for nth in 1 2 3; do mount -t tmpfs x /mnt; sleep 0.4; umount /mnt; sleep 0.4; done");
        let expected = "unwedge-watch: /srv/elsewhere: its daemon may live outside this pid namespace; \
                        what is not seen is left to the timer";
        assert_eq!(ok(&host, "said"), expected);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        ok(&host, QUIET);
        assert_eq!(starts(&host), 0, "its end cannot be seen");
        ok(&host, "umount --lazy /srv/elsewhere");
        until(&host, "test $(gauge starts) = 1");
        until(&host, "test $(gauge supported) = 1");
        ok(&host, "kill -KILL $(main_pid)");
        until(&host, "test $(gauge starts) = 2");

        // in a mount namespace of its own it would see none of this
        let private = b"[Service]\nPrivateTmp=yes\n";
        host.put("/etc/systemd/system/unwedge-watch.service.d/private.conf", private, "644");
        ok(&host, "systemctl daemon-reload; systemctl restart unwedge-watch");
        assert_eq!(ok(&host, "gauge supported"), "0");
        assert!(ok(&host, "said").contains("not in the host's mount namespace; "), "{}", host.story());
    }
}

host_test! {
    fn a_unit_that_fails_starts_a_round_where_its_drop_in_says_so(host) {
        host.arm();
        let drop_in = "/etc/systemd/system/storagebox.service.d/unwedge.conf";
        host.put(drop_in, &shipped("mount-unit-on-failure.conf"), "644");
        let verified = host.bash("systemctl daemon-reload; systemd-analyze verify --man=no /etc/systemd/system/storagebox.service");
        assert_eq!((verified.code, verified.stdout.as_str(), verified.stderr.as_str()), (Some(0), "", ""));
        let ms = timed(&host, "(! systemctl is-active -q unwedge-watch); kill -KILL $(main_pid); await_data");
        println!("killed to readable by OnFailure= {ms} ms");
        host.until("reported_live");
        assert_eq!(host.rounds().len(), 1, "{}", host.story());
    }
}

host_test! {
    fn a_changed_config_is_taken_up_and_one_with_a_fault_is_said_once_and_left(host) {
        host.put("/etc/systemd/system/other.service", storage_unit("/mnt/other").as_bytes(), "644");
        ok(&host, "mkdir /mnt/other; systemctl daemon-reload; systemctl start other; await_data /mnt/other");
        watch(&host);
        assert_eq!(ok(&host, "gauge daemons"), "1");
        host.configure("", &(listed("") + "[[mount]]\npath = \"/mnt/other\"\n"));
        // what makes it look through the processes makes it read the config too; else it is the minute
        ok(&host, "end; umount --lazy /srv/storagebox; systemctl reset-failed storagebox
                   systemctl start storagebox; await_data");
        until(&host, "test $(gauge daemons) = 2");

        host.put("/etc/unwedge/unwedge.toml", b"[hots]\n", "644");
        for nth in 2..=3 {
            ok(&host, QUIET);
            let before = starts(&host);
            ok(&host, "end other; umount --lazy /mnt/other; systemctl reset-failed other
                       systemctl start other; await_data /mnt/other");
            until(&host, &format!("test $(gauge starts) -gt {before}"));
            until(&host, "test $(gauge daemons) = 2");
            until(&host, "said | grep -q hots");
            assert_eq!(ok(&host, "said | grep -c hots"), "1", "{nth}: {}", host.story());
        }
        ok(&host, "systemctl is-active unwedge-watch");
    }
}

host_test! {
    fn on_a_starved_host_it_looks_again_no_later_than_elsewhere(host) {
        host.arm();
        watch(&host);
        // for a while it gets the processor for moments only: a look of milliseconds takes seconds
        ok(&host, "pid=$(main_pid unwedge-watch)
                   (for nth in $(seq 8); do kill -CONT $pid; from=${EPOCHREALTIME/./}; while ((${EPOCHREALTIME/./} - from < 500)); do :; done; kill -STOP $pid; sleep 1; done; kill -CONT $pid) </dev/null &>/dev/null &
                   kill -KILL $(main_pid)");
        until(&host, "test $(gauge starts) -ge 1 -a $(gauge daemons) = 1");
    }
}

host_test! {
    fn where_there_is_nothing_to_start_it_ends_for_good(host) {
        let config = ok(&host, "sed 's/^.host.$/&\\nservices = \"process\"/; /^unit/d' /etc/unwedge/unwedge.toml");
        host.put("/etc/unwedge/unwedge.toml", config.as_bytes(), "644");
        let soon = b"[Service]\nRestartSec=100ms\n";
        host.put("/etc/systemd/system/unwedge-watch.service.d/soon.conf", soon, "644");
        ok(&host, "systemctl daemon-reload; ! systemctl start unwedge-watch");
        std::thread::sleep(Duration::from_millis(500));
        let state = ok(&host, "systemctl show -P NRestarts -P ExecMainStatus -P ActiveState unwedge-watch");
        assert_eq!(state, "0\n78\nfailed");
        let said = ok(&host, "said");
        assert_eq!(said, "unwedge-watch: services = \"process\": there is no unit to start; nothing is watched");
        host.configure("", &listed(""));
        let said = ok(&host, "setpriv --reuid 65534 --regid 65534 --clear-groups unwedge-watch 2>&1 || echo $?");
        assert!(said.ends_with("unwedge-watch: only root may start units; nothing is watched\n78"), "{said}");
        // a config with a fault is no reason to stay away when it is mended
        host.put("/etc/unwedge/unwedge.toml", b"[hots]\n", "644");
        ok(&host, "! systemctl start unwedge-watch");
        host.configure("", &listed(""));
        until(&host, "systemctl is-active -q unwedge-watch");
    }
}
