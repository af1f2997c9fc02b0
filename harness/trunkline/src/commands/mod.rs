//! One module per command.

pub mod doctor;
pub mod down;
pub mod gc;
pub mod images;
pub mod kind;
pub mod lint;
pub mod list;
pub mod matrix;
pub mod parity;
pub mod rootfs;
pub mod run;
pub mod status;
pub mod up;
