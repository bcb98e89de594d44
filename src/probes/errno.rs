//! What an errno from a mount allows to be concluded, by family of file system. Data, not code:
//! the sets are those a FUSE superblock without a daemon, a network client without a server, or a
//! permission answers with; everything else decides nothing.

use super::family::Family;

/// What an errno says of the mount that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// On FUSE: the superblock has lost its daemon and will not come back, unless a process still
    /// holds the connection (then the daemon itself answered so).
    Dead,
    /// May pass by itself; worth something only when seen several times.
    Transient,
    /// Says nothing of the mount's health: a permission, a name, a limit of ours.
    Inconclusive,
}

/// ENOTCONN, ECONNABORTED, ECONNREFUSED (the kernel's own answer when INIT failed), ENODEV, ENXIO,
/// ESHUTDOWN.
const DEAD: [i32; 6] = [107, 103, 111, 19, 6, 108];
/// EIO, EAGAIN, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH, ENETDOWN, ETIMEDOUT, EINTR, EREMOTEIO, ESTALE.
const TRANSIENT: [i32; 10] = [5, 11, 112, 113, 101, 100, 110, 4, 121, 116];

/// What `errno`, answered by a mount of `family`, says.
#[must_use]
pub fn says(errno: i32, family: Family) -> Says {
    match family {
        Family::Fuse if DEAD.contains(&errno) => Says::Dead,
        // a lost server can come back under a mount that is not FUSE
        Family::Network | Family::Other if DEAD.contains(&errno) => Says::Transient,
        Family::Fuse | Family::Network | Family::Other if TRANSIENT.contains(&errno) => {
            Says::Transient
        }
        Family::Fuse | Family::Network | Family::Other => Says::Inconclusive,
    }
}

/// `ENOTCONN` for 107; `errno 999` where there is no name.
#[must_use]
pub fn name(errno: i32) -> String {
    match usize::try_from(errno).ok().and_then(|n| NAMES.get(n.checked_sub(1)?)) {
        Some(name) if !name.is_empty() => (*name).to_owned(),
        Some(_) | None => format!("errno {errno}"),
    }
}

/// From include/uapi/asm-generic/errno-base.h and errno.h, beginning with 1.
#[rustfmt::skip]
const NAMES: [&str; 133] = [
    "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF", "ECHILD",
    "EAGAIN", "ENOMEM", "EACCES", "EFAULT", "ENOTBLK", "EBUSY", "EEXIST", "EXDEV", "ENODEV",
    "ENOTDIR", "EISDIR", "EINVAL", "ENFILE", "EMFILE", "ENOTTY", "ETXTBSY", "EFBIG", "ENOSPC",
    "ESPIPE", "EROFS", "EMLINK", "EPIPE", "EDOM", "ERANGE", "EDEADLK", "ENAMETOOLONG", "ENOLCK",
    "ENOSYS", "ENOTEMPTY", "ELOOP", "", "ENOMSG", "EIDRM", "ECHRNG", "EL2NSYNC", "EL3HLT",
    "EL3RST", "ELNRNG", "EUNATCH", "ENOCSI", "EL2HLT", "EBADE", "EBADR", "EXFULL", "ENOANO",
    "EBADRQC", "EBADSLT", "", "EBFONT", "ENOSTR", "ENODATA", "ETIME", "ENOSR", "ENONET",
    "ENOPKG", "EREMOTE", "ENOLINK", "EADV", "ESRMNT", "ECOMM", "EPROTO", "EMULTIHOP", "EDOTDOT",
    "EBADMSG", "EOVERFLOW", "ENOTUNIQ", "EBADFD", "EREMCHG", "ELIBACC", "ELIBBAD", "ELIBSCN",
    "ELIBMAX", "ELIBEXEC", "EILSEQ", "ERESTART", "ESTRPIPE", "EUSERS", "ENOTSOCK",
    "EDESTADDRREQ", "EMSGSIZE", "EPROTOTYPE", "ENOPROTOOPT", "EPROTONOSUPPORT",
    "ESOCKTNOSUPPORT", "EOPNOTSUPP", "EPFNOSUPPORT", "EAFNOSUPPORT", "EADDRINUSE",
    "EADDRNOTAVAIL", "ENETDOWN", "ENETUNREACH", "ENETRESET", "ECONNABORTED", "ECONNRESET",
    "ENOBUFS", "EISCONN", "ENOTCONN", "ESHUTDOWN", "ETOOMANYREFS", "ETIMEDOUT", "ECONNREFUSED",
    "EHOSTDOWN", "EHOSTUNREACH", "EALREADY", "EINPROGRESS", "ESTALE", "EUCLEAN", "ENOTNAM",
    "ENAVAIL", "EISNAM", "EREMOTEIO", "EDQUOT", "ENOMEDIUM", "EMEDIUMTYPE", "ECANCELED",
    "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED", "EOWNERDEAD", "ENOTRECOVERABLE",
    "ERFKILL", "EHWPOISON",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_names() {
        for (errno, expected) in
            [(1, "EPERM"), (5, "EIO"), (107, "ENOTCONN"), (116, "ESTALE"), (133, "EHWPOISON")]
        {
            assert_eq!(name(errno), expected);
        }
        for nameless in [0, -1, 41, 134, i32::MIN] {
            assert_eq!(name(nameless), format!("errno {nameless}"));
        }
    }

    #[test]
    fn only_fuse_dies_of_an_errno() {
        for errno in DEAD {
            assert_eq!(says(errno, Family::Fuse), Says::Dead);
            assert_eq!(says(errno, Family::Network), Says::Transient);
            assert_eq!(says(errno, Family::Other), Says::Transient);
        }
    }

    #[test]
    fn permissions_names_and_our_own_limits_decide_nothing() {
        // EACCES EPERM ENOENT ENOTDIR ELOOP EMFILE ENFILE ENOMEM
        for errno in [13, 1, 2, 20, 40, 24, 23, 12] {
            for family in [Family::Fuse, Family::Network, Family::Other] {
                assert_eq!(says(errno, family), Says::Inconclusive);
            }
        }
    }
}
