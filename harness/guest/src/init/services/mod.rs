//! Services, from the unit files that packages bring.

mod manager;
mod process;
pub mod ssh;
mod unit;
pub mod units;

pub use self::manager::{Manager, Reply};
