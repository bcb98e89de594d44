//! The gates: each one that is closed holds the whole plan, by name. The steps stay in the plan, so
//! that a rehearsal shows just what would be done.

use super::plan::{Hold, Reason};
use crate::config::sentinel::{Halt, Permission};
use crate::probes::gates::{Gates, LockLook, Namespace};
use crate::sys::clock::Now;
use crate::sys::text;

/// A hold for each closed gate. What could not be looked at is closed.
#[must_use]
pub fn closed(gates: &Gates, now: &Now) -> Vec<Hold> {
    let mut holds = Vec::new();
    match &gates.permission {
        Permission::Armed => {}
        Permission::NotArmed => {
            let how = "its sentinel is not there; `unwedge sentinel arm mounts` makes it";
            holds.push(Hold::gate(Reason::NotArmed, how.to_owned()));
        }
        Permission::Invalid(why) | Permission::Unknown(why) => {
            holds.push(Hold::gate(Reason::NotArmed, why.clone()));
        }
    }
    match &gates.halt {
        Halt::Clear => {}
        Halt::Set(text) => holds.push(Hold::gate(Reason::Halted, text.clone())),
        Halt::Unknown(why) => {
            holds.push(Hold::gate(Reason::Halted, format!("cannot tell, so it counts: {why}")));
        }
    }
    if let Some((left, because)) = &gates.hold {
        let until = now.utc_ms.saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let detail = format!("{because} (for {} more)", text::duration(*left));
        holds.push(Hold::gate(Reason::OnHold, detail).until(Some(until)));
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
    use std::time::Duration;

    use super::*;

    fn open() -> Gates {
        Gates {
            permission: Permission::Armed,
            halt: Halt::Clear,
            hold: None,
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
        let reasons: Vec<Reason> = closed(&gates, &now).iter().map(|hold| hold.reason).collect();
        assert_eq!(reasons, expected);
    }

    #[test]
    fn each_gate_closes_by_its_own_name_and_unknown_is_closed() {
        let why = || "?".to_owned();
        check(|_| {}, &[]);
        check(|g| g.permission = Permission::NotArmed, &[Reason::NotArmed]);
        check(|g| g.permission = Permission::Invalid(why()), &[Reason::NotArmed]);
        check(|g| g.permission = Permission::Unknown(why()), &[Reason::NotArmed]);
        check(|g| g.halt = Halt::Set(why()), &[Reason::Halted]);
        check(|g| g.halt = Halt::Unknown(why()), &[Reason::Halted]);
        check(|g| g.hold = Some((Duration::from_secs(1), why())), &[Reason::OnHold]);
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
