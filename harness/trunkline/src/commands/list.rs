//! `trunkline list`: scenarios and their cases, or labs.

use comfy_table::{Table, presets};
use serde_json::json;

use crate::{
    cli::List,
    exit::{Exit, Failure, OrExit},
    labs, out, suite,
};

pub fn list(args: &List) -> Result<Exit, Failure> {
    if args.labs {
        labs(args.json)
    } else {
        scenarios(args)
    }
}

fn scenarios(args: &List) -> Result<Exit, Failure> {
    let loaded = suite::load(&args.selection);
    suite::show(&loaded.diagnostics, false);
    let selected = suite::select(&loaded, &args.selection);
    let tags = |scenario: &trunkline_scenario::Scenario| -> Vec<String> {
        scenario.tags.iter().map(|tag| tag.value.clone()).collect()
    };
    if args.json {
        let all: Vec<_> = selected
            .iter()
            .map(|scenario| {
                json!({
                    "name": scenario.full_name(),
                    "title": scenario.spec.title.value,
                    "tags": tags(scenario),
                    "file": scenario.source.path().as_str(),
                    "line": scenario.name.at.line(),
                })
            })
            .collect();
        out::line(serde_json::to_string_pretty(&all).or_exit(Exit::Broken)?)?;
    } else {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_header(["NAME", "TAGS", "TITLE"]);
        for scenario in &selected {
            table.add_row([
                scenario.full_name(),
                tags(scenario).join(","),
                scenario.spec.title.value.clone(),
            ]);
        }
        out::line(table)?;
    }
    Ok(if loaded.has_errors() {
        Exit::Invalid
    } else if selected.is_empty() {
        Exit::NothingRan
    } else {
        Exit::Ok
    })
}

pub fn labs(as_json: bool) -> Result<Exit, Failure> {
    let alive = labs::alive().or_exit(Exit::Broken)?;
    if as_json {
        out::line(serde_json::to_string_pretty(&alive).or_exit(Exit::Broken)?)?;
        return Ok(Exit::Ok);
    }
    if alive.is_empty() {
        eprintln!("no lab is up; `trunkline up` starts one");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "NAME",
        "NODES",
        "SERVER",
        "KUBECONFIG",
        "SINCE",
    ]);
    for lab in alive {
        let since = lab.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        table.add_row([
            lab.name,
            lab.nodes.to_string(),
            lab.server,
            lab.kubeconfig.to_string(),
            since,
        ]);
    }
    out::line(table)?;
    Ok(Exit::Ok)
}
