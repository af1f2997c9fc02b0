//! `trunkline doctor`: what this machine has and lacks.

use comfy_table::{Cell, Color, Table, presets};
use trunkline_lab::doctor::{self, Check, Status};

use crate::{
    cli::{Doctor, Global},
    exit::{Exit, Failure, OrExit},
    host, out,
};

pub fn doctor(args: &Doctor, global: &Global) -> Result<Exit, Failure> {
    let cache = host::cache(global)?;
    let checks = doctor::examine(cache.root());
    if args.json {
        out::line(serde_json::to_string_pretty(&checks).or_exit(Exit::Broken)?)?;
    } else {
        out::line(render(&checks))?;
    }
    let broken = checks.iter().any(|check| check.status == Status::Failed);
    Ok(if broken { Exit::Host } else { Exit::Ok })
}

fn render(checks: &[Check]) -> String {
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
