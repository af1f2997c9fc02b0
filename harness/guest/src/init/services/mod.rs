//! Services, from the unit files that packages bring.

mod manager;
mod process;
mod unit;
pub mod units;

pub use self::manager::{Manager, Reply};
