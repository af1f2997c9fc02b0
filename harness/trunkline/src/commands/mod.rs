//! One module per command.

pub mod doctor;
pub mod down;
pub mod lint;
pub mod list;
pub mod rootfs;
pub mod run;
pub mod up;
