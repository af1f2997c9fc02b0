//! Templates that nobody has used for long: each takes a hundred megabytes, and is made again in seconds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::MachineError;

/// As many stay, however old.
const KEPT: usize = 6;

/// Whoever asked for a template has opened it by then.
const SURELY_OPEN: Duration = Duration::from_secs(60 * 60);

/// Removes all but the last used. `mark` is the file whose age tells of the last use.
pub fn unused(directory: &Path, mark: &str, now: SystemTime) -> Result<(), MachineError> {
    let entries = fs::read_dir(directory).map_err(MachineError::io("read", directory))?;
    let mut templates: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(|entry| {
            let place = entry.ok()?.path();
            let used = fs::metadata(place.join(mark)).ok()?.modified().ok()?;
            Some((used, place))
        })
        .collect();
    templates.sort_by(|a, b| b.cmp(a));
    for (used, place) in templates.into_iter().skip(KEPT) {
        let age = now.duration_since(used).unwrap_or_default();
        let lock = place.with_extension("lock");
        // Somebody is making it again.
        let free = File::create(&lock).is_ok_and(|lock| lock.try_lock().is_ok());
        if age < SURELY_OPEN || !free {
            continue;
        }
        // The mark first: what is half removed is no template.
        let path = place.join(mark);
        fs::remove_file(&path).map_err(MachineError::io("remove", &path))?;
        fs::remove_dir_all(&place).map_err(MachineError::io("remove", &place))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_used_stay() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let hours = |number: u64| now - Duration::from_secs(number * 60 * 60);
        let add = |name: &str, used: SystemTime| {
            let place = directory.path().join(name);
            fs::create_dir(&place).unwrap();
            fs::write(place.join("ram"), "").unwrap();
            let mark = File::create(place.join("mark")).unwrap();
            mark.set_modified(used).unwrap();
        };
        for number in 0..8 {
            add(&format!("t{number}"), hours(number + 2));
        }
        fs::create_dir(directory.path().join("x.building")).unwrap();
        unused(directory.path(), "mark", now).unwrap();
        let left = |name: &str| directory.path().join(name).exists();
        assert!(left("t0") && left("t5") && left("x.building"));
        assert!(!left("t6") && !left("t7"));

        // However many there are: what was used just now may not be open yet.
        for number in 0..8 {
            add(&format!("new{number}"), now);
        }
        unused(directory.path(), "mark", now).unwrap();
        assert!((0..8).all(|number| left(&format!("new{number}"))));
        assert!(!left("t0"));
    }
}
