//! One small loop per zone and database: what shall be there against what is there, the
//! difference in one transaction.

mod chassis;
mod plan;
mod zone;

pub(crate) use zone::{Progress, Zone};

#[cfg(test)]
mod tests;
