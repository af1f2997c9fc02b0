//! Builds the static programs that this crate embeds.
//!
//! They run inside containers of any image, so they are linked statically, which needs flags of
//! its own and hence a cargo of its own. That one works in `programs/` beside the profile's
//! directory: with a target directory of its own it cannot wait for a lock that the outer cargo
//! holds, and all profiles share the result.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use sha2::{Digest, Sha256};

/// Package, program, and what to watch.
const PROGRAMS: [(&str, &str, &str); 5] = [
    ("trunkline-guest", "trunkline-agent", "harness/guest"),
    ("trunkline-guest", "trunkline-init", "harness/guest"),
    ("trunkline-launcher", "virt-launcher", "harness/launcher"),
    ("trunkline-http-server", "agnhost", "fixtures/http-server"),
    (
        "trunkline-unpack",
        "trunkline-unpack",
        "harness/userland/unpack",
    ),
];

const PROFILE: &str = "programs";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let target = text(variable("TARGET")?)?;
    let workspace = manifest_dir
        .ancestors()
        .nth(2)
        .ok_or("the crate does not lie two levels below its workspace")?;

    for file in ["Cargo.toml", "Cargo.lock"] {
        watch(&workspace.join(file));
    }
    for (_, _, folder) in PROGRAMS {
        for part in ["src", "Cargo.toml"] {
            watch(&workspace.join(folder).join(part));
        }
    }
    watch(&manifest_dir.join("build.rs"));

    let target_dir = programs_dir(&out_dir)?;
    let status = cargo(workspace, &target, &target_dir)?
        .status()
        .map_err(|error| format!("cannot run cargo for the static programs: {error}"))?;
    if !status.success() {
        return Err(format!(
            "the static programs did not build ({status}); they need the C library's static half: apt-get install libc6-dev"
        ));
    }
    for (_, program, _) in PROGRAMS {
        let built = target_dir.join(&target).join(PROFILE).join(program);
        let bytes = std::fs::read(&built)
            .map_err(|error| format!("cannot read {}: {error}", built.display()))?;
        let copy = out_dir.join(program);
        std::fs::write(&copy, &bytes)
            .map_err(|error| format!("cannot write {}: {error}", copy.display()))?;
        // Named by content in the cache; hashed once here, not at every start.
        let name = program.to_uppercase().replace('-', "_");
        let sha256 = hex::encode(Sha256::digest(&bytes));
        println!("cargo::rustc-env=SHA256_{name}={sha256}");
    }
    Ok(())
}

/// `<target directory>/programs`, from `<target directory>/<profile>/build/<package>/out`.
fn programs_dir(out_dir: &Path) -> Result<PathBuf, String> {
    out_dir
        .ancestors()
        .find(|ancestor| ancestor.file_name().is_some_and(|name| name == "build"))
        .and_then(|build| build.parent()?.parent())
        .map(|target| target.join("programs"))
        .ok_or_else(|| format!("{} does not look like a build directory", out_dir.display()))
}

fn cargo(workspace: &Path, target: &str, target_dir: &Path) -> Result<Command, String> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(workspace)
        .args([
            "build",
            "--locked",
            "--profile",
            PROFILE,
            "--target",
            target,
        ])
        .arg("--target-dir")
        .arg(target_dir);
    for (package, program, _) in PROGRAMS {
        cargo.args(["--package", package, "--bin", program]);
    }
    // Whatever drives the outer build (clippy, flags, a chosen target) is about the outer build.
    for name in [
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
    ] {
        cargo.env_remove(name);
    }
    let flags = format!(
        "CARGO_TARGET_{}_RUSTFLAGS",
        target.to_uppercase().replace('-', "_")
    );
    cargo.env(flags, "-C target-feature=+crt-static");
    Ok(cargo)
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("cargo did not set {name}"))
}

fn text(value: OsString) -> Result<String, String> {
    value
        .into_string()
        .map_err(|value| format!("{} is not text", value.display()))
}
