//! `trunkline status`: what is up, and in which state.

use crate::{
    cli::{Status, StatusSite},
    commands::{kind, list},
    exit::{Exit, Failure},
};

pub async fn run(args: &Status) -> Result<Exit, Failure> {
    match &args.site {
        None => list::labs(args.lab.json),
        Some(StatusSite::Lab(lab)) => list::labs(lab.json),
        Some(StatusSite::Kind(args)) => kind::status(args).await,
    }
}
