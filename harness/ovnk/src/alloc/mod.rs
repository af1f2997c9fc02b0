//! Allocators as upstream has them: round robin, so that what was freed is not used again until
//! everything else has been (`pkg/allocator/bitmap`).

mod ids;
mod round_robin;
mod subnets;

pub(crate) use ids::Ids;
pub(crate) use round_robin::RoundRobin;
pub(crate) use subnets::{SubnetError, Subnets};
