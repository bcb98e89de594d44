//! What tests stand on: namespaces of their own, fault daemons, and rounds of the real program.

pub mod failpoints;
pub mod fault;
#[macro_use]
pub mod host;
pub mod isolate;
pub mod lab;
pub mod postgres;
pub mod s3;

pub use fault::Fault;
pub use lab::Lab;

/// A test that runs as root in new mount and process namespaces, on the real kernel. Whatever it
/// leaves behind goes with them.
macro_rules! lab_test {
    ($(#[$meta:meta])* fn $name:ident($lab:ident) $body:block) => {
        #[test]
        $(#[$meta])*
        fn $name() {
            $crate::support::isolate::isolated(
                concat!(module_path!(), "::", stringify!($name)),
                || {
                    #[allow(unused_mut)]
                    let mut $lab = $crate::support::Lab::build();
                    $body
                },
            );
        }
    };
}
