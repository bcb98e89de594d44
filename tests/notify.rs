//! Telling people, on a host with a real systemd: as shipped, installed, with web hooks on loopback.

use std::path::Path;

use serde_json::Value;
use unwedge::probes::messages::Messages;
use unwedge::probes::records;

use crate::install::bare;
use crate::support::host::{Host, listed};

/// Writes each request it gets on one line, and answers 200, or 500 while /run/refuses is there.
pub const HOOK: &str = r"#!/usr/bin/python3
import http.server, os
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0))).decode()
        refuses = os.path.exists('/run/refuses')
        with open('/run/hooks', 'a') as out:
            out.write(repr((self.path, self.headers.get('Title', ''), body, refuses)) + '\n')
        self.send_response(500 if refuses else 200)
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Hook).serve_forever()
";

const CONFIG: &str = "[notify]\ntimeout = \"5s\"\ncommand = [\"/usr/local/bin/page\", \"me\"]\n\
    [[notify.webhook]]\nshape = \"ntfy\"\nurl_file = \"/etc/unwedge/ntfy.url\"\n\
    [[notify.webhook]]\nshape = \"slack\"\nurl_credential = \"slack\"\n\
    [notify.ping]\nurl_file = \"/etc/unwedge/ping.url\"\n";

/// A host with mounts and messages, installed and started, and nothing armed.
pub fn scene(host: &Host) {
    bare(host);
    host.configure("", &(listed("") + CONFIG));
    host.put("/usr/local/bin/hook", HOOK.as_bytes(), "755");
    host.put(
        "/usr/local/bin/page",
        b"#!/bin/sh\necho \"$1: $2\" >>/run/unwedge-pages/pages\n",
        "755",
    );
    // a command writes only where a drop-in lets it
    host.put(
        "/etc/systemd/system/unwedge-notify.service.d/pages.conf",
        b"[Service]\nReadWritePaths=/run/unwedge-pages\n",
        "644",
    );
    // as it is where systemd boots: credentials are mounted in another namespace, and shown here by propagation
    host.ok("mount --make-shared /run
        systemd-run --quiet --unit=hook /usr/local/bin/hook
        until timeout 1 bash -c ': <>/dev/tcp/127.0.0.1/8080' 2>/dev/null; do sleep 0.02; done
        mkdir -p /etc/credstore /run/unwedge-pages; echo http://127.0.0.1:8080/s3cr3t-slack >/etc/credstore/slack; chmod 600 /etc/credstore/slack
        echo http://127.0.0.1:8080/s3cr3t-ntfy >/etc/unwedge/ntfy.url; echo http://127.0.0.1:8080/s3cr3t-ping >/etc/unwedge/ping.url
        systemctl daemon-reload
        /opt/unwedge/unwedge install --enable mounts,notify
        chown root:unwedge /etc/unwedge/*.url; chmod 640 /etc/unwedge/*.url; chown unwedge /run/unwedge-pages");
}

/// Requests, one a line, but for signs of life.
fn hooks(host: &Host) -> Vec<String> {
    let all = host.ok("cat /run/hooks 2>/dev/null || :");
    all.lines().filter(|line| !line.contains("s3cr3t-ping")).map(str::to_owned).collect()
}

host_test! {
    fn one_message_when_it_begins_and_one_when_it_is_over_by_every_way_and_no_secret_is_seen(
        host, needs "/usr/bin/python3"
    ) {
        scene(&host);
        let tell = "systemctl start unwedge-notify.service";
        // unarmed it looks, and sends nothing, not even a sign of life
        host.ok("kill -KILL $(main_pid); unwedge-mounts --apply >/dev/null");
        host.ok(tell);
        assert_eq!(host.ok("cat /run/hooks 2>/dev/null || :"), "");
        assert!(host.ok("unwedge-notify").contains("/srv/storagebox is dead"), "a dry run shows what would be told");
        let plan: Value = serde_json::from_str(&host.ok("unwedge-notify --json")).unwrap();
        assert_eq!((&plan["schema"], &plan["armed"], &plan["mode"]), (&1.into(), &false.into(), &"dry-run".into()));
        assert_eq!((&plan["messages"][0]["phase"], &plan["holds"][0]["reason"]), (&"opened".into(), &"not-armed".into()));

        host.ok("unwedge sentinel arm notify --because test");
        for _ in 0..3 {
            host.ok(tell);
        }
        let told = hooks(&host);
        assert_eq!(told.len(), 2, "{told:?}");
        for way in ["s3cr3t-ntfy", "s3cr3t-slack"] {
            let one = told.iter().find(|it| it.contains(way)).unwrap();
            assert!(one.contains("/srv/storagebox is dead") && one.contains("unwedge doctor") && one.contains("not-armed"), "{one}");
        }
        let pages = "cat /run/unwedge-pages/pages";
        assert_eq!(host.ok(&format!("{pages} | wc -l")), "1", "{}", host.ok(pages));
        let pings = host.ok("grep s3cr3t-ping /run/hooks");
        assert!(pings.lines().next().unwrap().contains("s3cr3t-ping/start"), "{pings}");
        assert_eq!(pings.lines().filter(|it| it.starts_with("('/s3cr3t-ping',")).count(), 3, "{pings}");

        host.arm();
        host.ok("unwedge-mounts --apply >/dev/null");
        for _ in 0..3 {
            host.ok(tell);
        }
        let told = hooks(&host);
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[2..].iter().all(|it| it.contains("/srv/storagebox was dead and is good again after")), "{told:?}");
        assert_eq!(host.ok(&format!("{pages} | wc -l")), "2");

        // the same once more within the hour: nobody is told again
        host.ok("kill -KILL $(main_pid); unwedge-mounts --apply >/dev/null; test $(unwedge incidents | wc -l) = 2");
        host.ok(tell);
        assert_eq!(hooks(&host).len(), 4);

        // a URL is a secret
        let shown = host.ok("{ journalctl -b -q -o verbose --no-pager; cat /var/lib/metrics/*.prom /var/lib/unwedge/*.json /var/lib/unwedge/*/*
            systemctl cat unwedge-notify; systemctl show unwedge-notify; unwedge config show; unwedge-notify; unwedge-notify --json 2>&1
            su -s /bin/sh nobody -c 'cat /etc/unwedge/*.url' 2>&1; } | grep -a s3cr3t || :");
        assert_eq!(shown, "");
        assert!(host.ok("unwedge config show").contains("url_file = \"/etc/unwedge/ntfy.url\""));
    }
}

host_test! {
    fn what_is_not_delivered_is_kept_told_and_tried_again_and_nothing_waits_for_it(
        host, needs "/usr/bin/python3"
    ) {
        scene(&host);
        host.ok("unwedge sentinel arm notify --because test; touch /run/refuses
            systemctl start unwedge-notify 2>/dev/null || :; kill -KILL $(main_pid); unwedge-mounts --apply >/dev/null");
        assert_ne!(host.bash("systemctl start unwedge-notify.service").code, Some(0));
        let metric = |name: &str| host.ok(&format!("grep '^unwedge_{name} ' /var/lib/metrics/unwedge_notify.prom | cut -d' ' -f2"));
        // the command took it, the two hooks did not
        assert_eq!((metric("messages_waiting"), metric("notify_ping_ok")), ("2".to_owned(), "0".to_owned()));
        assert_eq!(host.ok("wc -l </run/unwedge-pages/pages"), "1");
        let said = host.ok("journalctl --sync; journalctl -b -q -o cat --no-pager -u unwedge-notify");
        assert!(said.contains("by webhook 1 (ntfy): HTTP 500") && said.contains("by webhook 2 (slack): HTTP 500"), "{said}");
        // not before its time
        let before = hooks(&host).len();
        host.ok("rm /run/refuses; systemctl start unwedge-notify.service");
        assert_eq!(hooks(&host).len(), before);
        // a round that is killed right before it would be sent has lost nothing
        let path = "/var/lib/unwedge/queue/notify.json";
        let mut state: Messages = records::parse(format!("{}\n", host.ok(&format!("cat {path}"))).as_bytes()).unwrap_or_else(|why| panic!("{why}"));
        for message in &mut state.waiting {
            message.last = None;
        }
        host.put(path, &records::render(&state).unwrap(), "644");
        host.ok(&format!("chown unwedge:unwedge {path}"));
        host.ok("systemctl start unwedge-notify.service");
        assert_eq!((metric("messages_waiting"), metric("notify_ping_ok")), ("0".to_owned(), "1".to_owned()));
        assert_eq!(hooks(&host).len(), before + 2);
    }
}

host_test! {
    fn a_sign_of_life_is_withheld_while_a_tool_is_silent_or_the_probe_cannot_be_trusted(
        host, needs "/usr/bin/python3"
    ) {
        scene(&host);
        host.ok("unwedge sentinel arm notify --because test; unwedge-mounts --apply >/dev/null");
        let last = |host: &Host| {
            host.ok("systemctl start unwedge-notify.service");
            host.ok("grep s3cr3t-ping /run/hooks | tail -n 1")
        };
        assert!(last(&host).starts_with("('/s3cr3t-ping',"));
        let canary = Path::new("/var/lib/metrics/unwedge_canary.prom").display();
        let wrote = |ok: u8| format!("printf 'unwedge_tool_last_run_timestamp_seconds{{tool=\"canary\"}} %s\\nunwedge_tool_run_ok{{tool=\"canary\"}} {ok}\\n' $(date +%s) >{canary}");
        host.ok(&wrote(0));
        let said = last(&host);
        assert!(said.starts_with("('/s3cr3t-ping/fail',") && said.contains("the probe cannot be trusted"), "{said}");
        host.ok(&wrote(1));
        assert!(last(&host).starts_with("('/s3cr3t-ping',"));
        host.ok("sed -i 's/^\\(unwedge_tool_last_run_timestamp_seconds.*\\) .*/\\1 1000000/' /var/lib/metrics/unwedge_mounts.prom");
        let said = last(&host);
        assert!(said.starts_with("('/s3cr3t-ping/fail',") && said.contains("unwedge-mounts has not run for"), "{said}");
        // and by hand, all ways at once
        let said = host.ok("unwedge-notify --test 2>&1 || :");
        assert!(said.contains("webhook 1 (ntfy): sent") && said.contains("webhook 2 (slack): credential slack: "), "{said}");
    }
}

host_test! {
    fn the_same_symptom_is_told_again_once_as_much_time_has_gone_by_as_is_said(
        host, needs "/usr/bin/python3"
    ) {
        scene(&host);
        host.arm();
        host.ok("unwedge sentinel arm notify --because test; systemctl start unwedge-notify.service
            sed -i 's/^timeout = \"5s\"$/&\\nrepeat = \"10m\"/' /etc/unwedge/unwedge.toml; grep -q '^repeat' /etc/unwedge/unwedge.toml");
        // it breaks and is mended, and somebody may hear of that
        let told = || {
            let before = hooks(&host).len();
            host.ok("await_data; kill -KILL $(main_pid); unwedge-mounts --apply >/dev/null; systemctl start unwedge-notify.service");
            hooks(&host).len() - before
        };
        assert_eq!(told(), 2, "by each of the two hooks");
        let path = "/var/lib/unwedge/queue/notify.json";
        let ages = |minutes: u64| {
            let text = format!("{}\n", host.ok(&format!("cat {path}")));
            let mut state: Messages = records::parse(text.as_bytes()).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(state.told.len(), 1, "{state:?}");
            for told in &mut state.told {
                told.at.utc_ms -= minutes * 60_000;
                told.at.boot_ms -= minutes * 60_000;
            }
            host.put(path, &records::render(&state).unwrap(), "644");
            host.ok(&format!("chown unwedge:unwedge {path}"));
        };
        ages(9);
        assert_eq!(told(), 0);
        ages(2);
        assert_eq!(told(), 2);
        host.ok("sed -i 's/^repeat.*/repeat = \"2h\"/' /etc/unwedge/unwedge.toml");
        ages(61);
        assert_eq!(told(), 0, "longer than nobody said");
    }
}
