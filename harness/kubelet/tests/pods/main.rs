//! Real pods on runc, in namespaces of their own, against kubeapi in this process.
//!
//! The test program starts itself again in fresh namespaces (as root, or in a user namespace where the host allows
//! one), makes the lab's root file system its root as the lab does, and runs every test there against one API
//! server and two nodes. Where that is impossible the tests are ignored, and the reason is printed.

mod cluster;
mod inside;
mod outside;
mod tests;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    if std::env::var_os(outside::INSIDE).is_some() {
        inside::run(&args)
    } else {
        outside::run(&args)
    }
}
