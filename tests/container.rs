//! Jobs in containers, by a real engine on a throw-away host: what is inside and what is not, how an end is told, and that
//! none is left by whatever is killed.

use std::time::Duration;

use crate::runner;
use crate::support::host::{Host, shipped};

/// An engine without a registry.
fn engine(host: &Host, storage: &str, cgroups: &str) {
    let limits =
        "default_sysctls = []\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n";
    let containers = format!("[containers]\n{cgroups}{limits}");
    let policy = "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n";
    for (name, text) in
        [("storage.conf", storage), ("containers.conf", &containers), ("policy.json", policy)]
    {
        host.put(&format!("/etc/containers/{name}"), text.as_bytes(), "644");
    }
    image(host);
}

/// What an image is made of: nothing but busybox.
fn image(host: &Host) {
    host.ok("mkdir -p /run/image/bin /srv/in /srv/out; cp /bin/busybox /run/image/bin; for name in sh cp cat id ls sleep env touch hostname grep; do ln -s busybox /run/image/bin/$name; done
         tar -C /run/image -cf /srv/image.tar .; echo secret >/etc/secret; echo x >/srv/in/a; echo y >/srv/in/b; echo z >/srv/in/c");
}

/// One of root, which makes no cgroups.
fn furnish(host: &Host) {
    let storage =
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"/run/ctr\"\nrunroot = \"/run/ctrr\"\n";
    engine(host, storage, "cgroups = \"disabled\"\n");
    host.ok("podman import - tools:1 </srv/image.tar >/dev/null 2>&1; podman image exists tools:1");
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
        let said = host.bash(&format!("{RUN} none.toml in/a"));
        assert!(said.code == Some(1) && said.stderr.contains("nothing:1: no such image here"), "{said:?}");
        kind(&host, "nowhere", "image = \"tools:1\"\nnetwork = \"nowhere\"", "exit 0");
        let said = host.bash("cd /srv; timeout 8 unwedge run --queue sqlite:///srv/queue.db --type nowhere.toml in/a");
        assert_ne!(said.code, Some(0), "{said:?}");
        let class = host.ok("cd /; unwedge jobs list --queue sqlite:///srv/queue.db --class infrastructure");
        assert!(class.contains("/srv/in/a") && class.contains("exit 125"), "{class}");
        // an image is asked for where the type is read, not when a job waits for it
        kind(&host, "bare", "", "exit 0");
        let said = host.bash(&format!("{RUN} bare.toml in/a"));
        assert!(said.code == Some(2) && said.stderr.contains("needs an image"), "{said:?}");
    }
}

/// Answers as a registry of one image does that was pushed into a directory, and notes what it is asked for.
const REGISTRY: &str = r#"
import http.server, json, os, sys
root = "/srv/registry"
class Registry(http.server.BaseHTTPRequestHandler):
    def answer(self):
        open("/srv/asked", "a").write(self.path + "\n")
        name, kind = self.path.rsplit("/", 1)[-1].split(":")[-1], "application/octet-stream"
        if "/manifests/" in self.path:
            name = "manifest.json"
            kind = json.load(open(f"{root}/{name}")).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
        body = b"{}" if self.path == "/v2/" else open(f"{root}/{name}", "rb").read()
        self.send_response(200)
        for header in [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")]:
            self.send_header(*header)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
    do_GET = do_HEAD = answer
http.server.HTTPServer(("127.0.0.1", 5000), Registry).serve_forever()
"#;

host_test! {
    fn a_run_is_in_a_container_where_it_is_told_so_on_a_network_that_is_named_and_pulls_where_it_may(
        host, needs "/usr/bin/podman", needs "/bin/busybox"
    ) {
        furnish(&host);
        host.put("/srv/registry.py", REGISTRY.as_bytes(), "644");
        host.put("/etc/containers/registries.conf", b"[[registry]]\nlocation = \"127.0.0.1:5000\"\ninsecure = true\n", "644");
        // by a word on the command line alone
        host.ok("cd /srv; unwedge run --queue sqlite:///srv/queue.db --mode container --image tools:1 --output 'out/{name}' in/a in/b -- /bin/sh -c 'ls /etc >$1; cat $0 >>$1' {input} {output}
                 test -d /etc/unwedge; tail -n 1 out/a | grep -qx x; test -z \"$(grep -x unwedge out/a)\"; rm out/*");
        // the network that is named, and none where none is
        host.ok("ip link add eth0 type veth peer name eth1");
        kind(&host, "near", "image = \"tools:1\"\nnetwork = \"host\"", "ls /sys/class/net >$2");
        kind(&host, "alone", "image = \"tools:1\"", "ls /sys/class/net >$2");
        host.ok(&format!("{RUN} near.toml in/a; {RUN} alone.toml in/b; grep -qx eth0 out/a; test \"$(cat out/b)\" = lo"));
        // an image that is not here is a registry's, and none is asked unless the type says so
        host.ok("podman push --quiet tools:1 dir:/srv/registry; python3 /srv/registry.py >/dev/null 2>&1 & until (: </dev/tcp/127.0.0.1/5000) 2>/dev/null; do sleep 0.1; done");
        kind(&host, "never", "image = \"127.0.0.1:5000/tools:2\"", "cat $1 >$2");
        let said = host.bash(&format!("{RUN} never.toml in/c"));
        assert!(said.code == Some(1) && said.stderr.contains("127.0.0.1:5000/tools:2: no such image here"), "{said:?}");
        host.ok("test ! -e /srv/asked; echo w >/srv/in/d");
        kind(&host, "missing", "image = \"127.0.0.1:5000/tools:2\"\npull = \"missing\"", "cat $1 >$2");
        host.ok(&format!("{RUN} missing.toml in/d; grep -qx w out/d; grep -q /manifests/2 /srv/asked"));
    }
}

host_test! {
    fn no_container_is_left_by_whatever_is_killed(host, needs "/usr/bin/podman", needs "/bin/busybox") {
        furnish(&host);
        kind(&host, "long", "image = \"tools:1\"", "test -e /srv/in/go || sleep 4321; cat $1 >$2");
        let running = "podman ps --quiet | grep -q .";
        let empty = "test -z \"$(podman ps --all --quiet)\"; test -z \"$(pgrep -x sleep)\"";
        // one of a worker that cannot be seen from here, as from within a container that may use this engine, is left alone
        let foreign = "podman ps --all --format '{{.Names}}' | grep -qx unwedge-ujffffffffffff-1-1-0";
        let labels = "--label unwedge.host=$(hostname) --label unwedge.uid=0 --label unwedge.boot=$(cat /proc/sys/kernel/random/boot_id)";
        let create = |place: &str| host.ok(&format!("podman create --name unwedge-ujffffffffffff-1-1-0 {labels} --label unwedge.place=$(cat /proc/sys/kernel/random/boot_id):{place} tools:1 /bin/busybox true"));
        kind(&host, "slow", "image = \"tools:1\"", "sleep 2; cat $1 >$2");
        let look = format!("rm -f /srv/out/*; {RUN} slow.toml --again in/b");
        create("1");
        host.ok(&format!("{look}; {foreign}; podman rm unwedge-ujffffffffffff-1-1-0"));
        create("$(readlink /proc/self/ns/pid | tr -dc 0-9)");
        host.ok(&format!("{look}; ! {foreign}"));
        for (who, how) in [
            ("the run is interrupted", "kill -INT $(cat /run/pid)"),
            ("its helper is killed", "kill -KILL $(pgrep -x 'uj[0-9a-f]{12}')"),
            ("its runner is killed", "kill -KILL $(pgrep -x unwedge-runner)"),
            ("the run is killed", "kill -KILL $(cat /run/pid)"),
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

host_test! {
    fn a_job_whose_helper_is_lost_is_nobodys_until_its_container_is_gone(
        host, needs "/usr/bin/podman", needs "/bin/busybox"
    ) {
        furnish(&host);
        // each removal tells that it begins and that it was left to its end
        host.put(
            "/run/engine",
            b"#!/bin/sh\ncase $1 in rm) echo begins >>/run/asked; while [ -e /run/slow ]; do sleep 0.1; done; /usr/bin/podman \"$@\"; code=$?; echo ends >>/run/asked; exit $code ;; esac\nexec /usr/bin/podman \"$@\"\n",
            "755",
        );
        let jobs = "[jobs]\nengine = [\"/run/engine\"]\n";
        host.put("/etc/unwedge/unwedge.toml", jobs.as_bytes(), "644");
        kind(&host, "long", "image = \"tools:1\"", "test -e /srv/in/go || sleep 4321; cat $1 >$2");
        host.ok("touch /run/asked /run/slow; cd /srv; (setsid unwedge run --queue sqlite:///srv/queue.db --type long.toml --count 2 in/a in/b >/run/said 2>&1 & echo $! >/run/pid)");
        host.until("test $(podman ps --quiet | wc -l) = 2");
        let state = "cd /; unwedge jobs list --queue sqlite:///srv/queue.db --state";
        // one after the other: who looks after the second has no business with what takes away the container of the first
        host.ok("pgrep -x 'uj[0-9a-f]{12}' >/run/helpers; kill -KILL $(head -n 1 /run/helpers)");
        host.until("test $(grep -c begins /run/asked) -ge 1");
        host.ok("kill -KILL $(tail -n 1 /run/helpers)");
        host.until("test $(grep -c begins /run/asked) -ge 2");
        host.ok(&format!("sleep 2; test $({state} running | grep -c /srv/in/) = 2"));
        assert!(!host.ok("cat /run/asked").contains("ends"));
        host.ok("touch /srv/in/go; rm /run/slow");
        host.until(&format!("test $({state} retryable | grep -c /srv/in/) = 2"));
        host.until("test -z \"$(podman ps --all --quiet)\"");
        // each at the first go
        let said = host.ok("cat /run/said");
        assert!(!said.contains("is not gone yet"), "{said}");
        host.ok("test $(grep -c ends /run/asked) -ge 2; kill -TERM $(cat /run/pid)");
        host.until("! kill -0 $(cat /run/pid) 2>/dev/null");
        let said = host.ok(&format!("{RUN} long.toml --again in/a in/b"));
        assert!(said.contains("2 done, 0 not"), "{said}");
    }
}

host_test! {
    fn a_container_that_cannot_be_taken_away_is_nobodys_fault_and_no_try_runs_beside_it(
        host, needs "/usr/bin/podman", needs "/bin/busybox"
    ) {
        furnish(&host);
        host.put(
            "/run/engine",
            b"#!/bin/sh\necho \"$@\" >>/run/asked\n[ ! -e /run/away ] || case $1 in rm|ps) echo it does not answer >&2; exit 125 ;; esac\n[ ! -e /srv/out/mute ] || case $1 in rm) exit 125 ;; ps) rm /srv/out/mute; exit 125 ;; esac\nexec /usr/bin/podman \"$@\"\n",
            "755",
        );
        // where commands run is said for the whole host
        let jobs = "[jobs]\nmode = \"container\"\nimage = \"tools:1\"\nengine = [\"/run/engine\"]\n";
        host.put("/etc/unwedge/unwedge.toml", jobs.as_bytes(), "644");
        let kind = "output = \"/srv/out/{name}\"\n[[tier]]\nname = \"only\"\nlimit = \"1s\"\n\
            argv = [\"/bin/sh\", \"-c\", \"test -e /srv/in/go || sleep 4321; cat $1 >$2\", \"job\", \"{input}\", \"{output}\"]\n";
        host.put("/srv/held.toml", kind.as_bytes(), "644");
        host.ok(&format!("touch /run/away; cd /; (setsid sh -c '{RUN} held.toml in/a' >/run/said 2>&1 & echo $! >/run/pid)"));
        let list = "cd /; unwedge jobs list --queue sqlite:///srv/queue.db --class infrastructure";
        host.until(&format!("{list} | grep -q /srv/in/a"));
        let shown = host.ok("unwedge jobs show --queue sqlite:///srv/queue.db 1");
        assert!(shown.contains("its container cannot be taken away"), "{shown}");
        // what an engine that is stopped ends with itself is no end of the job either
        let ended = kind.replace("1s", "20s").replace("test -e /srv/in/go || sleep 4321; cat $1 >$2", "exit 137");
        let ended = ended + "[retry]\nattempts = 1\n";
        host.put("/srv/ended.toml", ended.as_bytes(), "644");
        let back = ended.replace("exit 137", "touch /srv/out/mute; exit 137");
        host.put("/srv/back.toml", back.as_bytes(), "644");
        let said = host.bash(&format!("timeout 8 sh -c '{RUN} ended.toml in/b'"));
        assert_ne!(said.code, Some(1), "{said:?}");
        let shown = host.ok("unwedge jobs show --queue sqlite:///srv/queue.db 2");
        assert!(shown.contains("infrastructure: exit 137") && shown.contains("the engine did not answer then"), "{shown}");
        host.ok("kill -TERM $(pgrep -x unwedge); rm /run/away; touch /srv/in/go");
        host.until("test -z \"$(pgrep -x unwedge)\"");
        host.ok(&format!("{RUN} held.toml --again in/a"));
        let said = host.bash(&format!("{RUN} ended.toml --again in/b"));
        assert!(said.code == Some(1) && said.stdout.contains("(failed): exit 137"), "{said:?}");
        // it may be back when it is asked for the second time
        let said = host.bash(&format!("timeout 8 sh -c '{RUN} back.toml in/b'"));
        assert_ne!(said.code, Some(1), "{said:?}");
        let shown = host.ok("test ! -e /srv/out/mute; for id in 3 4 5 6; do unwedge jobs show --queue sqlite:///srv/queue.db $id || :; done");
        assert!(shown.contains("infrastructure: exit 137") && shown.contains("the engine did not answer then"), "{shown}");
        host.ok("test -z \"$(podman ps --all --quiet)\"; test \"$(cat /srv/out/a)\" = x");
        let rows = host.ok("unwedge jobs show --json --queue sqlite:///srv/queue.db 1");
        assert!(rows.contains("\"failures\":0"), "{rows}");
        let asked = host.ok("cat /run/asked");
        let asked: Vec<&str> = asked.lines().collect();
        let taken = |line: &str| line.starts_with("rm ") && line.ends_with("-1-1-0");
        let taken = asked.iter().rposition(|line| taken(line));
        let begun = asked.iter().position(|it| it.starts_with("run ") && it.contains("-1-2-0 "));
        assert!(taken.is_some() && taken < begun, "the first goes before the second is begun: {asked:?}");
    }
}

/// As the service's user, with what its unit gives it.
const AS_SERVICE: &str = "cd /; setpriv --reuid=unwedge --regid=unwedge --init-groups env HOME=/var/lib/unwedge/home XDG_RUNTIME_DIR=/run/unwedge-runner";

host_test! {
    fn the_service_runs_containers_with_an_engine_of_its_own_user_and_no_more_rights_than_it_has(
        host, needs "/usr/bin/podman", needs "/bin/busybox"
    ) {
        let tells = "{ cat $1; id -u; grep CapEff /proc/self/status; ls /etc; } >$2";
        let waits = "echo 1/2 half >&$UNWEDGE_PROGRESS_FD; test -e /srv/in/go || sleep 4321; cat $1 >$2";
        let of = |text: &str| {
            let text = runner::script("", text).replace("/bin/bash", "/bin/sh");
            format!("{text}[retry]\nattempts = 1\n")
        };
        let jobs = "mode = \"container\"\nimage = \"tools:1\"\nengine = [\"/run/bin/podman\"]\nconcurrency = 2\ndrain = \"1s\"\ntools = \"2s\"\n";
        let fetches = format!("pull = \"missing\"\n{}", of(tells));
        runner::furnish(&host, &[("tells", &of(tells)), ("waits", &of(waits)), ("fetches", &fetches)], jobs);
        // one user, and no numbers of its own beside that: nothing that only root could have given it
        engine(&host, "[storage]\ndriver = \"vfs\"\ngraphroot = \"/run/ctr\"\nrunroot = \"/run/ctrr\"\n[storage.options.vfs]\nignore_chown_errors = \"true\"\n", "");
        host.put("/run/bin/podman", b"#!/bin/sh\n[ ! -e /run/away ] || { echo no such daemon >&2; exit 1; }\n[ $1 != image -o ! -e /run/blind ] || { echo store is locked >&2; exit 125; }\nexec /usr/bin/podman --cgroup-manager=cgroupfs \"$@\"\n", "755");
        // a kernel shows a new /proc only to whoever sees a whole one, as on a host, and here parts of it are covered
        // what it may write to it may by a group alone, and so may its commands
        host.ok("groupadd -g 777 extra; usermod -aG extra unwedge; chown root:extra /srv/out; chmod 775 /srv/out
                 mkdir /run/proc; mount -t proc proc /run/proc; touch /run/away; systemctl start unwedge-runner");

        // it does not answer: the lane waits and says why, and no job is charged for it
        let submit = "cd /srv/in; unwedge jobs submit";
        let said = host.bash(&format!("{submit} --require-capable tells a 2>&1"));
        assert!(said.code != Some(0) && said.stdout.contains("its engine does not answer: exit 1; it said: no such daemon"), "{said:?}");
        host.ok(&format!("{submit} tells a"));
        host.until("cd /; unwedge jobs why 1 | grep -q 'no such daemon'");
        // it answers, and has no image, nor does anybody fetch one: the lane waits with what mends that, and no try is used
        host.ok("rm /run/away");
        let pull = "cd / && sudo -u unwedge env HOME=/var/lib/unwedge/home XDG_RUNTIME_DIR=/run/unwedge-runner /run/bin/podman pull tools:1";
        host.until(&format!("cd /; unwedge jobs why 1 | grep -qF 'its image tools:1 is not here, and nobody fetches it: `{pull}`'"));
        // that nobody knows is another answer
        host.ok("touch /run/blind");
        host.until("cd /; unwedge jobs why 1 | grep -q 'whether its image tools:1 is here is not known: exit 125; it said: store is locked'");
        host.ok("rm /run/blind");
        host.until("cd /; unwedge jobs why 1 | grep -q 'its image tools:1 is not here'");
        let shown = host.ok("cd /; unwedge jobs show --json 1");
        assert!(shown.contains("\"state\":\"pending\"") && shown.contains("\"tries\":0"), "{shown}");
        // one that is fetched where it is missing is not asked for
        host.ok("cd /; unwedge workers list | grep -qx '          types: fetches'");
        host.ok(&format!("{AS_SERVICE} podman import - tools:1 </srv/image.tar >/dev/null 2>&1; pkill -KILL -u unwedge podman || :"));
        host.until("cd /; unwedge jobs list --state done | grep -q /srv/in/a");
        let shown = host.ok("cd /; unwedge jobs show --json 1");
        assert!(shown.contains("\"tries\":1") && shown.contains("\"failures\":0"), "{shown}");

        let told = host.ok("cat /srv/out/a; stat -c %U:%G /srv/out/a");
        assert!(told.starts_with("x\n0\n") && told.ends_with("\nunwedge:unwedge"), "{told}");
        assert!(told.contains("CapEff:\t0000000000000000\n") && !told.contains("secret"), "{told}");
        host.ok("systemctl show -P NoNewPrivileges unwedge-runner | grep -qx yes; ! test -s /etc/subuid || ! grep -q unwedge /etc/subuid");

        // whatever ends the service, nothing of it is left, and the job is done all the same
        // but for what an engine without root keeps its namespaces by, where a person's verb has asked it
        let nothing = "test -z \"$(pgrep -x sleep)\"; test -z \"$(pgrep -u unwedge -a | grep -v 'podman$')\"";
        let by_hand = "cd /; unwedge workers stop --here; unwedge workers list --json | grep -q '\"workers\":\\[\\]'";
        let killed = "systemctl kill -s KILL --kill-who=main unwedge-runner; systemctl stop unwedge-runner";
        for (nth, how) in ["systemctl stop unwedge-runner", killed, by_hand].iter().enumerate() {
            host.ok(&format!("echo {nth} >/srv/in/w{nth}; {submit} waits w{nth}"));
            host.until("pgrep -x sleep");
            // it is in the cgroup of its job, which limits it and ends it
            host.ok("grep -q '/unwedge-runner.service/job-.*/work$' /proc/$(pgrep -x sleep)/cgroup");
            host.until(&format!("cd /; unwedge jobs show --json {} | grep -q '1/2 half'", nth + 2));
            host.ok(how);
            host.until(nothing);
            host.ok("touch /srv/in/go; systemctl start unwedge-runner");
            host.until(&format!("test \"$(cat /srv/out/w{nth})\" = {nth}"));
            host.ok("rm /srv/in/go");
        }
        host.until(&format!("test -z \"$({AS_SERVICE} podman ps --all --quiet)\""));

        // root does not see what the service's user has, and takes away what nobody of it watches any more all the same
        let labels = "--label unwedge.host=$(hostname) --label unwedge.uid=$(id -u unwedge) --label unwedge.boot=$(cat /proc/sys/kernel/random/boot_id) --label unwedge.place=$(cat /proc/sys/kernel/random/boot_id):$(readlink /proc/self/ns/pid | tr -dc 0-9)";
        // the runner would take it away as well, every other second here
        host.ok(&format!("kill -STOP $(main_pid unwedge-runner); trap 'kill -CONT $(main_pid unwedge-runner)' EXIT
                 {AS_SERVICE} podman create --name unwedge-ujffffffffffff-1-1-0 {labels} tools:1 /bin/busybox true >/dev/null
                 said=$(unwedge workers reap --dry-run); echo \"$said\"; grep -q 'would be removed: unwedge-ujffffffffffff-1-1-0' <<<\"$said\"; {AS_SERVICE} podman ps --all --quiet | grep -q .
                 said=$(unwedge workers reap); echo \"$said\"; grep -q ' removed: unwedge-ujffffffffffff-1-1-0' <<<\"$said\"; test -z \"$({AS_SERVICE} podman ps --all --quiet)\""));

        // an engine that fails before there is a container has failed itself, whatever it exits with
        host.put("/run/bin/podman", b"#!/bin/sh\n[ $1 != run ] || exit 1\nexec /usr/bin/podman --cgroup-manager=cgroupfs \"$@\"\n", "755");
        host.ok(&format!("echo f >/srv/in/f; {submit} tells f"));
        host.until("cd /; unwedge jobs show --json 5 | grep -q 'the engine began nothing'");
        let shown = host.ok("cd /; unwedge jobs show --json 5");
        assert!(shown.contains("\"failures\":0"), "{shown}");

        // with ranges of numbers it would need a program that gains rights
        if host.bash("test -x /usr/bin/newuidmap").code == Some(0) {
            host.ok("for it in subuid subgid; do echo unwedge:100000:65536 >>/etc/$it; done; pkill -KILL -u unwedge podman || :; systemctl restart unwedge-runner");
            host.until("cd /; unwedge workers list --json | grep -q '/etc/subuid'");
        }

        // one that hangs when root's verb asks it is not left behind by the verb
        host.put("/run/bin/podman", b"#!/bin/sh\n[ $1 != ps ] || [ ! -e /run/hang ] || exec sleep 4123\nexec /usr/bin/podman --cgroup-manager=cgroupfs \"$@\"\n", "755");
        host.ok("systemctl start unwedge-runner; touch /run/hang; (unwedge workers reap --only containers >/run/reaped 2>&1 || :; echo ended >>/run/reaped) & disown");
        host.until_within(Duration::from_secs(90), "grep -q ended /run/reaped");
        host.ok("rm /run/hang; test $(grep -c 'containers may be left' /run/reaped) = 2");
        host.until("(! pgrep -fx 'sleep 4123')");
    }
}

/// Docker's engine, without a network and with all that it keeps in memory.
const DOCKER: &[u8] = b"[Service]\nType=notify\nExecStart=/usr/sbin/dockerd --bridge=none --iptables=false --ip6tables=false --ip-forward=false \
    --storage-driver=vfs --data-root=/run/dk/data --exec-root=/run/dk/exec --pidfile=/run/dk/pid --group=docker -H unix:///run/docker.sock\n";

host_test! {
    fn the_service_runs_containers_with_docker_once_it_may(
        host, needs "/usr/sbin/dockerd", needs "/bin/busybox"
    ) {
        let tells = "{ cat $1; id; grep CapEff /proc/self/status; ls /etc; } >$2; test -e /srv/in/go || sleep 4321";
        let text = runner::script("", tells).replace("/bin/bash", "/bin/sh");
        let jobs = "mode = \"container\"\nimage = \"tools:1\"\nengine = [\"/usr/bin/docker\"]\ndrain = \"1s\"\n";
        runner::furnish(&host, &[("tells", &format!("{text}[retry]\nattempts = 1\n"))], jobs);
        image(&host);
        host.ok("groupadd -g 777 extra; usermod -aG extra unwedge; chown root:extra /srv/out; chmod 775 /srv/out");
        host.put("/etc/systemd/system/docker.service", DOCKER, "644");
        host.ok("systemctl daemon-reload; systemctl start docker unwedge-runner; docker import /srv/image.tar tools:1 >/dev/null");

        // it may not, and says what would let it
        let said = host.bash("cd /srv/in; touch go; unwedge jobs submit --require-capable tells a 2>&1");
        assert!(said.code != Some(0) && said.stdout.contains("`unwedge install --drop-ins runner-docker`"), "{said:?}");
        host.put("/etc/systemd/system/unwedge-runner.service.d/docker.conf", &shipped("runner-docker.conf"), "644");
        host.ok("systemctl daemon-reload; systemctl restart unwedge-runner; cd /srv/in; unwedge jobs submit --wait tells a");
        let told = host.ok("cat /srv/out/a; stat -c %U:%G /srv/out/a; id -u unwedge");
        let uid = told.lines().last().unwrap();
        assert!(told.starts_with(&format!("x\nuid={uid} gid={uid} groups=777,{uid}\n")), "{told}");
        assert!(told.contains("CapEff:\t0000000000000000\n") && told.contains("\nunwedge:unwedge\n"), "{told}");
        assert!(!told.contains("secret"), "{told}");

        // an engine that is stopped under a job charges it with nothing, and the lane waits for it
        host.ok("rm /srv/in/go; cd /srv/in; unwedge jobs submit tells b");
        host.until("pgrep -x sleep");
        host.ok("systemctl stop docker; touch /srv/in/go");
        host.until("cd /; unwedge workers list --json | grep -q 'systemctl start docker'");
        let shown = host.ok("cd /; unwedge jobs show --json 2");
        assert!(shown.contains("\"failures\":0") && !shown.contains("quarantined"), "{shown}");
        host.ok("systemctl start docker");
        host.until("docker ps --quiet >/dev/null && cd / && unwedge workers list --json | grep -q 'tells' && ! unwedge workers list --json | grep -q 'start docker'");
        // whatever ends the service, its containers are gone before the next goes on
        host.ok("cd /; unwedge jobs retry 2");
        host.until("cd /; unwedge jobs list --state done | grep -q /srv/in/b");
        host.ok("rm /srv/in/go; cd /srv/in; unwedge jobs submit tells c");
        host.until("pgrep -x sleep");
        host.ok("systemctl kill -s KILL --kill-who=main unwedge-runner; systemctl stop unwedge-runner");
        // it goes on, and so it is not given to another
        host.put("/etc/unwedge/sentinels/jobs", b"armed by a test\n", "644");
        host.ok("unwedge-jobs --apply >/dev/null; cd /; unwedge jobs list --json --state running | grep -q /srv/in/c");
        // where none comes it is a person who looks
        let said = host.ok("docker ps --quiet | grep -q .; cd /; unwedge workers reap --dry-run; docker ps --quiet | grep -q .");
        assert!(said.contains("of the containers whose worker is gone, would be removed: unwedge-uj"), "{said}");
        host.ok("cd /; unwedge workers reap --only processes --dry-run; unwedge workers reap another:worker; docker ps --quiet | grep -q .");
        let said = host.ok("cd /; unwedge workers reap; test -z \"$(docker ps --all --quiet)\"; unwedge workers reap");
        assert!(said.contains("gone, removed: unwedge-uj"), "{said}");
        host.ok("unwedge-jobs --apply >/dev/null; cd /; unwedge --json jobs show 3 | grep -q '\"rescues\":1,'");
        host.ok("touch /srv/in/go; systemctl start unwedge-runner");
        host.until("test -z \"$(docker ps --all --quiet)\"");
        host.until("cd /; unwedge jobs list --state done | grep -c tells | grep -qx 3");
    }
}
