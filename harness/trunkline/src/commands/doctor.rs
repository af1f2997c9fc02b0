//! `trunkline doctor`: what this machine, or a cluster, has and lacks for a site.

use comfy_table::{Cell, Color, Table, presets};
use serde::Serialize;
use trunkline_cluster::doctor as cluster;
use trunkline_lab::doctor::{self as lab, Status};
use trunkline_scenario::Suite;

use crate::{
    cli::{Doctor, Global, SiteKind},
    exit::{Exit, Failure, OrExit},
    host, out,
    sites::{self, context_options},
};

pub async fn doctor(args: &Doctor, global: &Global) -> Result<Exit, Failure> {
    sites::check(args.site, &args.connection)?;
    match args.site {
        SiteKind::Lab => {
            let cache = host::cache(global)?;
            show(&lab::examine(cache.root()), args.json, Exit::Host)
        }
        SiteKind::Kind => show(&cluster::examine().await, args.json, Exit::Host),
        SiteKind::Context => {
            // Their rights are asked for, whether they are sound or not.
            let suite = Suite::load(&args.scenarios);
            let options = context_options(&args.connection);
            let checks = cluster::examine_context(options, &suite.scenarios).await;
            show(&checks, args.json, Exit::Broken)
        }
    }
}

/// Prints the findings. `lacking` is how it ends when the site cannot be had.
fn show<Id: Serialize>(
    checks: &[trunkline_machine::Check<Id>],
    json: bool,
    lacking: Exit,
) -> Result<Exit, Failure> {
    if json {
        out::line(serde_json::to_string_pretty(checks).or_exit(Exit::Broken)?)?;
    } else {
        out::line(render(checks))?;
    }
    let broken = checks.iter().any(|check| check.status == Status::Failed);
    Ok(if broken { lacking } else { Exit::Ok })
}

fn render<Id>(checks: &[trunkline_machine::Check<Id>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for check in checks {
        let (mark, color) = match check.status {
            Status::Ok => ("ok", Color::Green),
            Status::Warning => ("warn", Color::Yellow),
            Status::Failed => ("FAIL", Color::Red),
            Status::Info => ("info", Color::Cyan),
        };
        table.add_row([
            Cell::new(mark).fg(color),
            Cell::new(check.title),
            Cell::new(&check.found),
        ]);
        if matches!(check.status, Status::Failed | Status::Warning) {
            table.add_row([
                Cell::new(""),
                Cell::new("  breaks"),
                Cell::new(check.breaks),
            ]);
            if let Some(fix) = &check.fix {
                table.add_row([Cell::new(""), Cell::new("  fix"), Cell::new(fix)]);
            }
        }
    }
    table.to_string()
}
