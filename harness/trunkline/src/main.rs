//! The command line: parses it, runs one command, and turns its outcome into an exit code.

mod cli;
mod commands;
mod exit;
mod host;
mod interrupt;
mod labs;
mod log;
mod out;
mod runner;
mod sites;
mod suite;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};
use exit::{Exit, Failure};

fn main() -> ExitCode {
    // The same program is the lab's first process; it must get there before any thread exists.
    trunkline_lab::boot::main_if_reexec(|context| {
        log::lab();
        trunkline_lab::server::run(context)
    });
    let cli = Cli::parse();
    log::host(&cli.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return say(&Failure::new(
                Exit::Broken,
                anyhow::Error::new(error).context("cannot start threads"),
            ));
        }
    };
    let outcome = runtime.block_on(dispatch(cli));
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => say(&failure),
    }
}

async fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let Cli { command, global } = cli;
    match command {
        Command::Run(args) => commands::run::run(&args, &global).await,
        Command::Up(args) => commands::up::up(&args, &global).await,
        Command::Supervise(args) => commands::up::supervise(&args.up, &global).await,
        Command::Down(args) => commands::down::down(&args).await,
        Command::Status(args) => commands::status::run(&args).await,
        Command::List(args) => commands::list::list(&args),
        Command::Lint(args) => commands::lint::lint(&args),
        Command::Parity(args) => commands::parity::run(&args, &global).await,
        Command::Matrix(args) => commands::matrix::run(&args),
        Command::Gc(args) => commands::gc::run(&args, &global).await,
        Command::Images(args) => commands::images::run(&args, &global).await,
        Command::Schema => {
            out::line(trunkline_scenario::schema_text().trim_end())?;
            Ok(Exit::Ok)
        }
        Command::Doctor(args) => commands::doctor::doctor(&args, &global).await,
        Command::Rootfs(args) => commands::rootfs::rootfs(&args, &global).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "trunkline", &mut script);
            out::line(String::from_utf8_lossy(&script).trim_end())?;
            Ok(Exit::Ok)
        }
    }
}

/// Prints an error with its causes, one per line.
fn say(failure: &Failure) -> ExitCode {
    let mut causes = failure.report.chain();
    if let Some(first) = causes.next() {
        let style = anstyle::Style::new()
            .bold()
            .fg_color(Some(anstyle::AnsiColor::Red.into()));
        anstream::eprintln!("{style}error{style:#}: {first}");
    }
    let mut said = failure.report.to_string();
    for cause in causes {
        let text = cause.to_string();
        // Transparent errors repeat what they wrap.
        if !said.contains(&text) {
            anstream::eprintln!("  because {text}");
            said = text;
        }
    }
    failure.exit.into()
}
