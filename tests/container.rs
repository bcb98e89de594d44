//! Jobs in containers, by a real engine on a throw-away host: what is inside and what is not, how an end is told, and that
//! none is left by whatever is killed.

use crate::support::host::Host;

/// An engine without a registry, and an image of nothing but busybox.
fn furnish(host: &Host) {
    for (name, text) in [
        (
            "storage.conf",
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"/run/ctr\"\nrunroot = \"/run/ctrr\"\n",
        ),
        (
            "containers.conf",
            "[containers]\ncgroups = \"disabled\"\ndefault_sysctls = []\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n",
        ),
        ("policy.json", "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n"),
    ] {
        host.put(&format!("/etc/containers/{name}"), text.as_bytes(), "644");
    }
    host.ok("mkdir -p /run/image/bin /srv/in /srv/out; cp /bin/busybox /run/image/bin; for name in sh cp cat id ls sleep env touch hostname; do ln -s busybox /run/image/bin/$name; done
         tar -C /run/image -c . | podman import - tools:1 >/dev/null 2>&1; podman image exists tools:1
         echo secret >/etc/secret; echo x >/srv/in/a; echo y >/srv/in/b");
}

fn kind(host: &Host, name: &str, more: &str, script: &str) {
    let text = format!(
        "mode = \"container\"\n{more}\noutput = \"/srv/out/{{name}}\"\n[[tier]]\nname = \"only\"\nlimit = \"20s\"\n\
         argv = [\"/bin/sh\", \"-c\", '''{script}''', \"job\", \"{{input}}\", \"{{output}}\"]\n[retry]\nattempts = 1\n[exit]\n9 = \"permanent\"\n"
    );
    host.put(&format!("/srv/{name}.toml"), text.as_bytes(), "644");
}

const RUN: &str = "cd /srv; unwedge run --queue sqlite:///srv/queue.db --type";

host_test! {
    fn a_command_in_a_container_has_its_input_and_its_output_and_nothing_else_of_the_host(
        host, needs "/usr/bin/podman", needs "/bin/busybox"
    ) {
        furnish(&host);
        // something that is to be seen where the network is that of the host
        host.ok("ip link add eth0 type veth peer name eth1; ls /sys/class/net | grep -q eth0");
        kind(&host, "look", "image = \"tools:1\"", "{ cat $1; touch /srv/in/new 2>&1; ls /etc /srv /sys/class/net; env; } >$2; exit 0");
        host.ok(&format!("{RUN} look.toml in/a"));
        let told = host.ok("cat /srv/out/a");
        assert!(told.starts_with("x\n") && told.contains("Read-only file system"), "{told}");
        assert!(told.contains("UNWEDGE_JOB=1") && !told.contains("secret") && !told.contains("queue.db"), "{told}");
        for foreign in ["NOTIFY_SOCKET", "eth0", "sqlite", "look.toml", "SUDO"] {
            assert!(!told.contains(foreign), "{foreign}: {told}");
        }
        host.ok("test ! -e /srv/in/new; test -z \"$(podman ps --all --quiet)\"");

        // how it ended is how the job did, and what the engine cannot do is nobody's item
        kind(&host, "ends", "image = \"tools:1\"", "exit 9");
        let said = host.bash(&format!("{RUN} ends.toml in/a"));
        assert!(said.code == Some(1) && said.stdout.contains("quarantined (permanent): exit 9"), "{said:?}");
        kind(&host, "none", "image = \"nothing:1\"", "exit 0");
        let said = host.bash("cd /srv; timeout 8 unwedge run --queue sqlite:///srv/queue.db --type none.toml in/a");
        assert_ne!(said.code, Some(0), "{said:?}");
        let class = host.ok("cd /; unwedge jobs list --queue sqlite:///srv/queue.db --class configuration");
        assert!(class.contains("/srv/in/a") && class.contains("exit 125"), "{class}");
        // an image is asked for where the type is read, not when a job waits for it
        kind(&host, "bare", "", "exit 0");
        let said = host.bash(&format!("{RUN} bare.toml in/a"));
        assert!(said.code == Some(1) && said.stderr.contains("needs an image"), "{said:?}");
    }
}

host_test! {
    fn no_container_is_left_by_whatever_is_killed(host, needs "/usr/bin/podman", needs "/bin/busybox") {
        furnish(&host);
        kind(&host, "long", "image = \"tools:1\"", "test -e /srv/in/go || sleep 4321; cat $1 >$2");
        let running = "podman ps --quiet | grep -q .";
        let empty = "test -z \"$(podman ps --all --quiet)\"; test -z \"$(pgrep -x sleep)\"";
        for (who, how) in [
            ("the run is interrupted", "kill -INT $(cat /run/pid)"),
            ("its helper is killed", "kill -KILL $(pgrep -x 'uj[0-9a-f]{12}')"),
            ("its runner is killed", "kill -KILL $(pgrep -x unwedge-runner)"),
        ] {
            host.ok("rm -f /srv/out/*; cd /srv; (setsid unwedge run --queue sqlite:///srv/queue.db --again --type long.toml in/a >/run/said 2>&1 & echo $! >/run/pid)");
            host.until(running);
            host.ok(how);
            // whoever goes on begins it again; then that is ended, too
            host.ok("sleep 1; kill -TERM $(cat /run/pid) 2>/dev/null || :");
            host.until("! kill -0 $(cat /run/pid) 2>/dev/null");
            host.ok("touch /srv/in/go");
            // who comes next finds what nobody watches any more
            let said = host.ok(&format!("{RUN} long.toml --again in/b in/a"));
            assert!(said.contains("2 done, 0 not"), "{who}: {said}");
            host.until(empty);
            host.ok("rm /srv/in/go");
        }
    }
}
