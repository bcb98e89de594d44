//! The gates: each one that is closed holds the whole plan, by name. The steps stay in the plan, so
//! that a rehearsal shows just what would be done.

use super::plan::{Hold, Reason};
use crate::config::sentinel::{Halt, Kind, Permission};
use crate::probes::gates::{Gates, LockLook, Namespace};
use crate::sys::clock::{Now, millis};
use crate::sys::text;

/// A hold for each closed gate of a tool whose acts are of kind `own`. What could not be looked at is
/// closed.
#[must_use]
pub fn closed(gates: &Gates, own: Kind, now: &Now) -> Vec<Hold> {
    let everything = |shut: Shut| Hold::gate(shut.reason, shut.detail).until(shut.until_utc_ms);
    let mut holds: Vec<Hold> = shut(gates, own, now).into_iter().map(everything).collect();
    match &gates.halt {
        Halt::Clear => {}
        Halt::Set(text) => holds.push(Hold::gate(Reason::Halted, text.clone())),
        Halt::Unknown(why) => {
            holds.push(Hold::gate(Reason::Halted, format!("cannot tell, so it counts: {why}")));
        }
    }
    lock(&gates.deploy, Reason::DeployInProgress, "somebody holds the deploy lock", &mut holds);
    lock(&gates.busy, Reason::Busy, "another round is at work", &mut holds);
    if let Some(why) = &gates.unreadable {
        holds.push(Hold::gate(Reason::StateUnreadable, why.clone()));
    }
    if gates.clock_fault {
        let why = "a stored time of an earlier boot lies in the future; ends when it is past";
        holds.push(Hold::gate(Reason::ClockFault, why.to_owned()));
    }
    match &gates.namespace {
        Namespace::Host => {}
        Namespace::Foreign => {
            let why = "this mount namespace is not that of PID 1: the host would see nothing of it";
            holds.push(Hold::gate(Reason::ForeignNamespace, why.to_owned()));
        }
        Namespace::Unknown(why) => {
            holds.push(Hold::gate(Reason::ForeignNamespace, why.clone()));
        }
    }
    holds
}

/// Why one kind of act is not permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shut {
    /// `not-armed` or `on-hold`.
    pub reason: Reason,
    /// The particulars.
    pub detail: String,
    /// When it ends by itself.
    pub until_utc_ms: Option<u64>,
}

/// What keeps one kind of act from being done: its sentinel, a person's pause.
#[must_use]
pub fn shut(gates: &Gates, kind: Kind, now: &Now) -> Vec<Shut> {
    let not_armed = |detail: String| Shut { reason: Reason::NotArmed, detail, until_utc_ms: None };
    let Some(access) = gates.access.get(&kind) else {
        return vec![not_armed("it was not looked at".to_owned())];
    };
    let name = kind.name();
    let mut shut = Vec::new();
    match &access.permission {
        Permission::Armed => {}
        Permission::NotArmed => {
            let how = format!("its sentinel is not there; `unwedge sentinel arm {name}` makes it");
            shut.push(not_armed(how));
        }
        Permission::Invalid(why) | Permission::Unknown(why) => shut.push(not_armed(why.clone())),
    }
    if let Some((left, because)) = &access.hold {
        let until = now.utc_ms.saturating_add(millis(*left));
        let detail = format!("{because} (for {} more)", text::duration(*left));
        shut.push(Shut { reason: Reason::OnHold, detail, until_utc_ms: Some(until) });
    }
    shut
}

fn lock(look: &LockLook, reason: Reason, held: &str, holds: &mut Vec<Hold>) {
    match look {
        LockLook::Free => {}
        LockLook::Held => holds.push(Hold::gate(reason, held.to_owned())),
        LockLook::Unknown(why) => {
            holds.push(Hold::gate(reason, format!("cannot tell, so it counts: {why}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::probes::gates::Access;

    fn open() -> Gates {
        Gates {
            access: BTreeMap::from([(
                Kind::Mounts,
                Access { permission: Permission::Armed, hold: None },
            )]),
            halt: Halt::Clear,
            deploy: LockLook::Free,
            busy: LockLook::Free,
            unreadable: None,
            clock_fault: false,
            namespace: Namespace::Host,
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Gates), expected: &[Reason]) {
        let mut gates = open();
        change(&mut gates);
        let now = Now { utc_ms: 1_000, boot_ms: 1, boot_id: "b".to_owned() };
        let reasons: Vec<Reason> =
            closed(&gates, Kind::Mounts, &now).iter().map(|hold| hold.reason).collect();
        assert_eq!(reasons, expected);
    }

    #[test]
    fn each_gate_closes_by_its_own_name_and_unknown_is_closed() {
        let why = || "?".to_owned();
        check(|_| {}, &[]);
        let set = |g: &mut Gates, permission: Permission| {
            g.access.insert(Kind::Mounts, Access { permission, hold: None });
        };
        check(|g| set(g, Permission::NotArmed), &[Reason::NotArmed]);
        check(|g| set(g, Permission::Invalid(why())), &[Reason::NotArmed]);
        check(|g| set(g, Permission::Unknown(why())), &[Reason::NotArmed]);
        check(|g| g.access.clear(), &[Reason::NotArmed]);
        check(|g| g.halt = Halt::Set(why()), &[Reason::Halted]);
        check(|g| g.halt = Halt::Unknown(why()), &[Reason::Halted]);
        let hold = Some((Duration::from_secs(1), why()));
        let paused = Access { permission: Permission::Armed, hold };
        check(|g| drop(g.access.insert(Kind::Mounts, paused.clone())), &[Reason::OnHold]);
        check(|g| drop(g.access.insert(Kind::Binds, paused.clone())), &[]);
        check(|g| g.deploy = LockLook::Held, &[Reason::DeployInProgress]);
        check(|g| g.deploy = LockLook::Unknown(why()), &[Reason::DeployInProgress]);
        check(|g| g.busy = LockLook::Held, &[Reason::Busy]);
        check(|g| g.busy = LockLook::Unknown(why()), &[Reason::Busy]);
        check(|g| g.unreadable = Some(why()), &[Reason::StateUnreadable]);
        check(|g| g.clock_fault = true, &[Reason::ClockFault]);
        check(|g| g.namespace = Namespace::Foreign, &[Reason::ForeignNamespace]);
        check(|g| g.namespace = Namespace::Unknown(why()), &[Reason::ForeignNamespace]);
    }
}
