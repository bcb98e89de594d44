//! `unwedge config check|show`.

use std::fmt::Write as _;

use super::Said;
use crate::config::Loaded;
use crate::probes::binds;
use crate::probes::types;
use crate::probes::work::Work;
use crate::report::exit::Exit;
use crate::sys::text;

/// What a right configuration is told to be, and which types of jobs beside it are not right.
#[must_use]
pub fn check(loaded: &Loaded) -> Said {
    let mut out = String::new();
    for file in &loaded.files {
        // writing to a String cannot fail
        let _ = writeln!(out, "{}: right", text::path(file));
    }
    for (file, why) in &loaded.skipped {
        let _ = writeln!(out, "{}: not read: {why}", text::path(file));
    }
    if loaded.files.is_empty() {
        out.push_str("no configuration: defaults, and nothing is repaired\n");
    }
    let mounts = &loaded.settings.mounts;
    for spec in loaded.settings.mount.iter().filter(|spec| !mounts.is_under_root(&spec.path)) {
        let path = text::path(&spec.path);
        let _ = writeln!(out, "{path}: not under repair_under: look only");
    }
    for spec in loaded.settings.mount.iter().filter(|spec| !spec.can_be_mounted()) {
        let path = text::path(&spec.path);
        let _ = writeln!(out, "{path}: no unit and no remount: nothing can mount it again");
    }
    let (complete, faults) = binds::complete(&loaded.settings, &Work::NoQueue);
    for fault in &faults {
        let _ = writeln!(out, "{}: {fault}", text::path(&fault.subject));
    }
    for bind in complete.bind.iter().filter(|bind| !mounts.is_under_root(&bind.hot)) {
        let _ = writeln!(out, "{}: not under repair_under: look only", text::path(&bind.hot));
    }
    let mut wrong = Vec::new();
    if let Some(jobs) = &loaded.settings.jobs {
        match types::of(&jobs.dir).map(|types| types.on_host(&jobs.run)) {
            Ok(types) => {
                let mut jobs = jobs.clone();
                match jobs.settle(&types) {
                    Ok(()) => {
                        for why in jobs.in_vain(&types) {
                            let _ = writeln!(out, "{why}");
                        }
                    }
                    Err(why) => wrong.push(why),
                }
                wrong.extend(types.bad.into_iter().map(|it| it.1));
            }
            Err(why) => wrong.push(why),
        }
    }
    for why in &wrong {
        let _ = writeln!(out, "{why}");
    }
    let code = if wrong.is_empty() { Exit::Fine } else { Exit::Usage };
    Said { text: out, code: code.code() }
}
