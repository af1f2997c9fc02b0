//! A unit file as data.

use std::time::Duration;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Simple,
    Forking,
    Oneshot,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    #[default]
    No,
    OnSuccess,
    OnFailure,
    Always,
}

impl Restart {
    pub fn after(self, success: bool) -> bool {
        match self {
            Self::No => false,
            Self::OnSuccess => success,
            Self::OnFailure => !success,
            Self::Always => true,
        }
    }
}

/// One command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    pub words: Vec<String>,
    pub may_fail: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub description: String,
    pub kind: Kind,
    pub start_pre: Vec<Exec>,
    pub start: Vec<Exec>,
    pub start_post: Vec<Exec>,
    pub reload: Vec<Exec>,
    pub stop: Vec<Exec>,
    pub pid_file: Option<String>,
    pub restart: Restart,
    pub restart_after: Duration,
    pub stop_within: Duration,
    pub remain: bool,
    pub user: Option<String>,
    pub group: Option<String>,
    pub directory: Option<String>,
    pub environment: Vec<(String, String)>,
    pub environment_files: Vec<String>,
    /// Below `/run`.
    pub runtime_directories: Vec<String>,
    /// Files that must be there, or with a `!` must not.
    pub conditions: Vec<String>,
    pub wanted_by: Vec<String>,
    pub aliases: Vec<String>,
}

impl Default for Unit {
    fn default() -> Self {
        Self {
            description: String::new(),
            kind: Kind::Simple,
            start_pre: Vec::new(),
            start: Vec::new(),
            start_post: Vec::new(),
            reload: Vec::new(),
            stop: Vec::new(),
            pid_file: None,
            restart: Restart::No,
            restart_after: Duration::from_millis(100),
            stop_within: Duration::from_secs(90),
            remain: false,
            user: None,
            group: None,
            directory: None,
            environment: Vec::new(),
            environment_files: Vec::new(),
            runtime_directories: Vec::new(),
            conditions: Vec::new(),
            wanted_by: Vec::new(),
            aliases: Vec::new(),
        }
    }
}

/// Reads a unit. What is not known is left aside, as systemd does.
pub fn parse(text: &str, name: &str) -> Unit {
    let mut unit = Unit::default();
    let mut section = String::new();
    for line in lines(text) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            let value = specifiers(value.trim(), name);
            set(&mut unit, &section, key.trim(), &value);
        }
    }
    unit
}

/// Lines with their continuations, without comments.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) || (trimmed.is_empty() && !open) {
            continue;
        }
        let (part, continues) = match trimmed.strip_suffix('\\') {
            Some(part) => (part.trim_end(), true),
            None => (trimmed, false),
        };
        match lines.last_mut().filter(|_| open) {
            Some(last) => {
                last.push(' ');
                last.push_str(part);
            }
            None => lines.push(part.to_owned()),
        }
        open = continues;
    }
    lines
}

/// `%i` and its like.
fn specifiers(value: &str, name: &str) -> String {
    let full = name.trim_end_matches(".service");
    let (prefix, instance) = full.split_once('@').unwrap_or((full, ""));
    let mut text = String::new();
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some('i' | 'I') => text.push_str(instance),
            Some('p' | 'P') => text.push_str(prefix),
            Some('n') => text.push_str(name),
            Some('N') => text.push_str(full),
            Some('t') => text.push_str("/run"),
            Some('%') | None => text.push('%'),
            Some(other) => text.extend(['%', other]),
        }
    }
    text
}

fn set(unit: &mut Unit, section: &str, key: &str, value: &str) {
    match (section, key) {
        ("Unit", "Description") => value.clone_into(&mut unit.description),
        ("Unit", "ConditionPathExists" | "ConditionFileNotEmpty" | "ConditionFileIsExecutable") => {
            unit.conditions.push(value.to_owned());
        }
        ("Install", "WantedBy" | "RequiredBy") => extend(&mut unit.wanted_by, value),
        ("Install", "Alias") => extend(&mut unit.aliases, value),
        ("Service", key) => set_service(unit, key, value),
        _ => {}
    }
}

fn set_service(unit: &mut Unit, key: &str, value: &str) {
    match key {
        "Type" => {
            unit.kind = match value {
                "forking" => Kind::Forking,
                "oneshot" => Kind::Oneshot,
                // What tells when it is ready is taken to be ready when it runs.
                _ => Kind::Simple,
            };
        }
        "ExecStartPre" | "ExecCondition" => commands(&mut unit.start_pre, value),
        "ExecStart" => commands(&mut unit.start, value),
        "ExecStartPost" => commands(&mut unit.start_post, value),
        "ExecReload" => commands(&mut unit.reload, value),
        "ExecStop" => commands(&mut unit.stop, value),
        "PIDFile" => unit.pid_file = Some(absolute(value)),
        "Restart" => {
            unit.restart = match value {
                "always" => Restart::Always,
                "on-success" => Restart::OnSuccess,
                "on-failure" | "on-abnormal" | "on-abort" | "on-watchdog" => Restart::OnFailure,
                _ => Restart::No,
            };
        }
        "RestartSec" => unit.restart_after = time(value).unwrap_or(unit.restart_after),
        "TimeoutStopSec" | "TimeoutSec" => {
            unit.stop_within = time(value).unwrap_or(unit.stop_within);
        }
        "RemainAfterExit" => unit.remain = ["yes", "true", "1", "on"].contains(&value),
        "User" => unit.user = Some(value.to_owned()).filter(|user| !user.is_empty()),
        "Group" => unit.group = Some(value.to_owned()).filter(|group| !group.is_empty()),
        "WorkingDirectory" => {
            unit.directory = Some(value.trim_start_matches('-').to_owned());
        }
        "Environment" => {
            let pairs = words(value);
            let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
            unit.environment
                .extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
        "EnvironmentFile" => unit.environment_files.push(value.to_owned()),
        "RuntimeDirectory" => extend(&mut unit.runtime_directories, value),
        _ => {}
    }
}

fn extend(list: &mut Vec<String>, value: &str) {
    list.extend(value.split_whitespace().map(str::to_owned));
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/run/{path}")
    }
}

/// An empty value takes back what stood before.
fn commands(list: &mut Vec<Exec>, value: &str) {
    if value.is_empty() {
        list.clear();
        return;
    }
    let line = value.trim_start_matches(['@', '+', '!', ':', '-', '|']);
    let prefix = &value[..value.len() - line.len()];
    let mut words = words(line);
    if prefix.contains('@') && words.len() > 1 {
        words.remove(1);
    }
    if !words.is_empty() {
        list.push(Exec {
            words,
            may_fail: prefix.contains('-'),
        });
    }
}

/// Words as systemd splits them: quotes, and backslashes before a few characters.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (character, Some(open)) if character == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            ('\\', _) => {
                let escaped = match characters.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('s') => ' ',
                    Some(other) => other,
                    None => '\\',
                };
                word.get_or_insert_default().push(escaped);
            }
            (character, None) if character.is_whitespace() => words.extend(word.take()),
            (character, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// `5s`, `1min 30s`, `100ms`, `5`.
fn time(value: &str) -> Option<Duration> {
    if value == "infinity" {
        return Some(Duration::from_secs(u64::from(u32::MAX)));
    }
    let mut total = Duration::ZERO;
    for part in value.split_whitespace() {
        let digits = part.trim_end_matches(|character: char| character.is_ascii_alphabetic());
        let number: f64 = digits.parse().ok()?;
        let unit = match &part[digits.len()..] {
            "" | "s" | "sec" => 1.0,
            "ms" => 0.001,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number * unit).ok()?;
    }
    Some(total)
}

/// `$NAME`, which may be several words or none, and `${NAME}`.
pub fn expand(words: &[String], environment: &[(String, String)]) -> Vec<String> {
    let value = |name: &str| {
        let found = environment.iter().rev().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let mut expanded = Vec::new();
    for word in words {
        match word.strip_prefix('$') {
            Some(name) if is_variable(name) => {
                expanded.extend(value(name).split_whitespace().map(str::to_owned));
            }
            _ => expanded.push(braces(word, value)),
        }
    }
    expanded
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn braces<'a>(word: &str, value: impl Fn(&str) -> &'a str) -> String {
    let mut text = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once("${") {
        text.push_str(before);
        rest = if let Some((name, after)) = after.split_once('}') {
            text.push_str(value(name));
            after
        } else {
            text.push_str("${");
            after
        };
    }
    text + &rest.replace("$$", "$")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NGINX: &str = r"
# Stop dance for nginx
[Unit]
Description=A high performance web server and a reverse proxy server
Documentation=man:nginx(8)

[Service]
Type=forking
PIDFile=/run/nginx.pid
ExecStartPre=/usr/sbin/nginx -t -q -g 'daemon on; master_process on;'
ExecStart=/usr/sbin/nginx -g 'daemon on; master_process on;'
ExecReload=/usr/sbin/nginx -g 'daemon on; master_process on;' -s reload
ExecStop=-/sbin/start-stop-daemon --quiet --stop --retry QUIT/5 --pidfile /run/nginx.pid
TimeoutStopSec=5
KillMode=mixed

[Install]
WantedBy=multi-user.target
";

    fn own(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_unit_of_nginx() {
        let unit = parse(NGINX, "nginx.service");
        assert_eq!(unit.kind, Kind::Forking);
        assert_eq!(unit.pid_file.as_deref(), Some("/run/nginx.pid"));
        assert_eq!(
            unit.start[0].words,
            own(&["/usr/sbin/nginx", "-g", "daemon on; master_process on;"])
        );
        assert!(unit.stop[0].may_fail && !unit.start[0].may_fail);
        assert_eq!(unit.stop[0].words[0], "/sbin/start-stop-daemon");
        assert_eq!(unit.stop_within, Duration::from_secs(5));
        assert_eq!(unit.wanted_by, own(&["multi-user.target"]));
    }

    #[test]
    fn a_template_with_everything() {
        let text = "[Service]\nType=notify\nExecStart=@/bin/d d-%i --x=${A} $B $C \\\n  --more \"a b\"\nEnvironment=A=1 \"B=2 3\"\nEnvironmentFile=-/etc/default/d\nRestart=always\nRestartSec=0\nUser=www-data\nRuntimeDirectory=d e\nRemainAfterExit=yes\nWorkingDirectory=-/srv\nTimeoutStopSec=1min 30s\nExecStop=\nUnheard=of\n";
        let unit = parse(text, "d@one.service");
        assert_eq!(unit.kind, Kind::Simple);
        assert_eq!(
            unit.start[0].words,
            own(&["/bin/d", "--x=${A}", "$B", "$C", "--more", "a b"])
        );
        assert_eq!(
            expand(&unit.start[0].words, &unit.environment),
            own(&["/bin/d", "--x=1", "2", "3", "--more", "a b"])
        );
        assert_eq!(
            (unit.restart, unit.restart_after),
            (Restart::Always, Duration::ZERO)
        );
        assert_eq!(unit.stop_within, Duration::from_secs(90));
        assert_eq!(unit.runtime_directories, own(&["d", "e"]));
        assert!(unit.remain);
    }

    #[test]
    fn an_empty_value_takes_back() {
        let unit = parse(
            "[Service]\nExecStart=/bin/a\nExecStart=\nExecStart=/bin/b\n",
            "x.service",
        );
        assert_eq!(unit.start.len(), 1);
        assert_eq!(unit.start[0].words, own(&["/bin/b"]));
    }

    #[test]
    fn text_that_is_no_unit() {
        assert_eq!(
            parse("garbage\n[\n=\nExecStart=/bin/x\n", "x.service"),
            Unit::default()
        );
        assert_eq!(words("a 'b c"), own(&["a", "b c"]));
        assert_eq!(words("a\\"), own(&["a\\"]));
        assert_eq!(time("5 parsecs"), None);
        assert_eq!(braces("a${b", |_| "x"), "a${b");
    }

    #[test]
    fn when_to_start_again() {
        assert!(Restart::Always.after(true) && Restart::Always.after(false));
        assert!(Restart::OnFailure.after(false) && !Restart::OnFailure.after(true));
        assert!(!Restart::No.after(false));
    }
}
