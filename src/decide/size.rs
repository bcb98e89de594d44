//! How many jobs at once: as many as are wanted, and no more than the host has cores and memory for.

/// A type as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// How many at once.
    pub count: u32,
    /// How much memory one may use, MiB.
    pub memory_mib: Option<u64>,
}

/// A host as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// How many of all types a person allows.
    pub slots: Option<u32>,
    /// Its cores.
    pub cores: u32,
    /// Its memory, MiB; where that is not known only what is wanted counts.
    pub memory_mib: Option<u64>,
}

/// How many at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Of all types together.
    pub slots: u32,
    /// Of each, in the order they were wanted.
    pub each: Vec<u32>,
    /// What is less than was wanted, in words.
    pub clamped: Vec<String>,
}

/// So much of a host's memory jobs may have, in percent: the rest is for what else it does.
const MEMORY_PERCENT: u64 = 80;

/// What of a host's memory jobs may have.
#[must_use]
pub fn of_memory(all_mib: u64) -> u64 {
    all_mib * MEMORY_PERCENT / 100
}

/// How many jobs of a type fit beside those that have taken so much of all the memory that jobs may have, MiB; one always does
/// where none is taken. Mostly as many do as it may have at once: where not even one of each type fits in, they take turns.
#[must_use]
pub fn fits(one: Option<u64>, taken: u64, all: Option<u64>) -> usize {
    let (Some(one), Some(all)) = (one.filter(|one| *one > 0), all) else { return usize::MAX };
    let left = usize::try_from(all.saturating_sub(taken) / one).unwrap_or(usize::MAX);
    if taken == 0 { left.max(1) } else { left }
}

/// How many of each type, and of all. None stays none; what is wanted at all gets one.
#[must_use]
pub fn size(wanted: &[Wanted], room: Room) -> Size {
    let (most, by) = match room.slots {
        Some(slots) => (slots, "[jobs] slots"),
        None => (room.cores.max(1), "the cores of this host"),
    };
    let memory = room.memory_mib.map(of_memory);
    let mut clamped = Vec::new();
    let mut each: Vec<u32> = wanted
        .iter()
        .map(|kind| {
            let fits = u32::try_from(fits(kind.memory_mib, 0, memory)).unwrap_or(u32::MAX);
            if fits < kind.count {
                clamped.push(format!(
                    "{}: {fits} at once and not {}, for {MEMORY_PERCENT} % of this host's memory",
                    kind.name, kind.count
                ));
            }
            let count = kind.count.min(fits);
            if most > 0 && most < count {
                clamped.push(format!("{}: {most} at once and not {count}, by {by}", kind.name));
            }
            count.min(most)
        })
        .collect();
    let sum = all(&each);
    if sum > most && most > 0 {
        clamped.push(format!("{most} of all types at once and not {sum}, by {by}"));
    }
    if let Some(memory) = memory {
        share(wanted, memory, &mut each, sum.min(most), &mut clamped);
    }
    Size { slots: all(&each).min(most), each, clamped }
}

/// Fewer, until those that take the most fit in together: of the largest type first, down to one of each. What does not fit
/// in then is kept apart by whoever begins it.
fn share(wanted: &[Wanted], memory: u64, each: &mut [u32], slots: u32, clamped: &mut Vec<String>) {
    let had = each.to_vec();
    while at_worst(wanted, each, slots) > memory {
        let larger = |nth: &usize| (wanted[*nth].memory_mib, each[*nth]);
        let several =
            (0..each.len()).filter(|&nth| each[nth] > 1 && wanted[nth].memory_mib.is_some());
        let Some(nth) = several.max_by_key(larger) else { break };
        each[nth] -= 1;
    }
    for ((kind, had), count) in wanted.iter().zip(had).zip(each.iter()) {
        if *count < had {
            clamped.push(format!(
                "{}: {count} at once and not {had}, so that all types fit into {MEMORY_PERCENT} % of this host's \
                 memory",
                kind.name
            ));
        }
    }
    if at_worst(wanted, each, slots) > memory && slots > 1 {
        clamped.push(format!(
            "what would take more than {MEMORY_PERCENT} % of this host's memory together is not begun together"
        ));
    }
}

fn all(each: &[u32]) -> u32 {
    each.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

/// What the `slots` jobs that take the most may take together, MiB; a type that says nothing counts as nothing.
fn at_worst(wanted: &[Wanted], each: &[u32], slots: u32) -> u64 {
    let mut sizes: Vec<(u64, u32)> = wanted
        .iter()
        .zip(each)
        .map(|(kind, count)| (kind.memory_mib.unwrap_or_default(), *count))
        .collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut left = slots;
    let mut sum = 0_u64;
    for (one, count) in sizes {
        let taken = count.min(left);
        left -= taken;
        sum = sum.saturating_add(one.saturating_mul(u64::from(taken)));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: &[(u32, Option<u64>)], slots: Option<u32>, expected: (u32, &[u32], usize)) {
        let wanted: Vec<Wanted> = wanted
            .iter()
            .map(|&(count, memory_mib)| Wanted { name: "t".to_owned(), count, memory_mib })
            .collect();
        let size = size(&wanted, Room { slots, cores: 4, memory_mib: Some(1000) });
        let found = (size.slots, size.each.as_slice(), size.clamped.len());
        assert_eq!(found, expected, "{:?}", size.clamped);
    }

    #[test]
    fn cores_memory_and_a_cap_are_the_bounds_and_none_stays_none() {
        check(&[(1, None)], None, (1, &[1], 0));
        check(&[(4, None)], None, (4, &[4], 0));
        check(&[(5, None)], None, (4, &[4], 1));
        check(&[(5, None)], Some(4), (4, &[4], 1));
        check(&[(3, None), (2, None)], None, (4, &[3, 2], 1));
        check(&[(3, None), (2, None)], Some(5), (5, &[3, 2], 0));
        check(&[(9, None)], Some(9), (9, &[9], 0));
        check(&[(0, None), (2, None)], None, (2, &[0, 2], 0));
        check(&[(3, None)], Some(0), (0, &[0], 0));
        check(&[(2, Some(400))], None, (2, &[2], 0));
        check(&[(2, Some(401))], None, (1, &[1], 1));
        check(&[(1, Some(5000))], None, (1, &[1], 0));
        check(&[], None, (0, &[], 0));
    }

    #[test]
    fn what_does_not_fit_in_beside_what_runs_waits_and_alone_it_is_begun() {
        let of = |one, taken| fits(Some(one), taken, Some(800));
        assert_eq!([of(700, 0), of(700, 700), of(100, 700), of(100, 701)], [1, 0, 1, 0]);
        assert_eq!([of(5000, 0), of(5000, 1)], [1, 0], "never none at all");
        assert_eq!([fits(None, 800, Some(800)), fits(Some(1), 800, None)], [usize::MAX; 2]);
    }

    #[test]
    fn all_types_together_fit_into_memory_and_each_that_is_wanted_keeps_one() {
        let of = |count, mib| (count, Some(mib));
        check(&[of(2, 200), of(2, 200)], None, (4, &[2, 2], 0));
        check(&[of(2, 201), of(2, 199)], None, (4, &[2, 2], 0));
        check(&[of(2, 201), of(2, 200)], None, (3, &[1, 2], 1));
        check(&[of(2, 201), (2, None)], None, (4, &[2, 2], 0));
        // only so many run at once
        check(&[of(2, 400), of(2, 400)], Some(2), (2, &[2, 2], 1));
        check(&[of(2, 400), of(2, 300)], Some(3), (2, &[1, 1], 3));
        // what does not fit in together takes turns, and keeps nothing else back
        check(&[of(1, 700), of(1, 700), (2, None)], None, (4, &[1, 1, 2], 1));
        check(&[of(1, 700), of(1, 90), of(1, 10)], None, (3, &[1, 1, 1], 0));
        check(&[of(1, 5000), of(1, 1)], None, (2, &[1, 1], 1));
        check(&[of(1, 5000)], None, (1, &[1], 0));
    }
}
