//! Runs a test in namespaces of its own, inside the lab's root file system, where OVN and Open
//! vSwitch are. When the process ends, the kernel takes everything away.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};

const INNER: &str = "TRUNKLINE_TEST_ROOT";

/// Goes on in a process that is sealed, or returns why that is not possible here. Must be called
/// before any thread exists.
pub fn seal() -> Result<(), String> {
    if let Some(root) = std::env::var_os(INNER) {
        enter(Path::new(&root)).expect("the root file system can be entered");
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root to make network namespaces".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Err("no /dev/net/tun".to_owned());
    }
    let root = root_file_system().ok_or("no lab root file system in the cache")?;
    let error = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--"])
        .arg(std::env::current_exe().expect("the test knows itself"))
        .args(std::env::args_os().skip(1))
        .env(INNER, root)
        .exec();
    Err(format!("cannot run unshare: {error}"))
}

fn root_file_system() -> Option<PathBuf> {
    let cache = std::env::var_os("TRUNKLINE_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("XDG_CACHE_HOME")?).join("trunkline")))
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/trunkline")))?;
    let mut roots: Vec<_> = cache
        .join("rootfs")
        .read_dir()
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("lab-"))
        .map(|entry| entry.path().join("root"))
        .filter(|root| root.join("usr/bin/ovn-controller").is_file())
        .collect();
    roots.sort();
    roots.pop()
}

/// Everything is private to this mount namespace.
fn enter(root: &Path) -> io::Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(
        Some(root),
        root,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        none,
    )?;
    let tree = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some("/dev"), &root.join("dev"), none, tree, none)?;
    for (kind, at) in [
        ("proc", "proc"),
        ("sysfs", "sys"),
        ("tmpfs", "run"),
        ("tmpfs", "tmp"),
    ] {
        mount(
            Some(kind),
            &root.join(at),
            Some(kind),
            MsFlags::empty(),
            none,
        )?;
    }
    let page = crate::record::fidelity_page();
    let docs = page.parent().unwrap_or(&page);
    for (outside, inside) in [(crate::record::dir().as_path(), "recorded"), (docs, "docs")] {
        let inside = root.join("tmp").join(inside);
        std::fs::create_dir(&inside)?;
        mount(Some(outside), &inside, none, tree, none)?;
    }
    nix::unistd::chroot(root)?;
    nix::unistd::chdir("/")?;
    // Nothing else runs yet in this process.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var(crate::record::ELSEWHERE, "/tmp");
        std::env::set_var("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    }
    Ok(())
}
