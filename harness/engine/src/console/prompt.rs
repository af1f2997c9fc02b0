//! What a console waits for, read from the text it has shown.

/// What the end of the screen says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// `vm-client login: `
    User,
    /// `Password: `
    Password,
    /// A shell's prompt.
    Command,
    /// A prompt of `passwd`: the password has expired.
    NewPassword,
}

/// The prompt at the very end of the screen; `None` while there is none, or when something was printed after it.
pub(super) fn waits(screen: &str) -> Option<Waits> {
    let last = screen.rsplit('\n').next().unwrap_or_default();
    let line = last.trim_start_matches('\r').trim_start();
    let lower = line.trim_end().to_lowercase();
    if is_password(&lower) {
        let new = ["new", "current", "retype"]
            .iter()
            .any(|word| lower.starts_with(word) || lower.starts_with(&format!("({word}")));
        return Some(if new {
            Waits::NewPassword
        } else {
            Waits::Password
        });
    }
    if is_login(line) {
        return Some(Waits::User);
    }
    is_shell(line).then_some(Waits::Command)
}

/// Whether the guest has refused a login somewhere on this screen.
pub(super) fn refused(screen: &str) -> Option<&'static str> {
    [
        "Login incorrect",
        "Login failed",
        "Authentication failure",
        "Permission denied",
        "This account is currently not available",
    ]
    .into_iter()
    .find(|words| screen.contains(words))
}

/// Whether the guest has asked for a password somewhere on this screen, whatever was printed after it.
pub(super) fn asked_for_password(screen: &str) -> bool {
    screen
        .lines()
        .any(|line| line.contains("Password: ") || is_password(&line.trim().to_lowercase()))
}

/// Whether the program of another connection says who it is.
pub(super) fn is_program(screen: &str) -> bool {
    screen.lines().any(|line| {
        line.split_once(":h:").is_some_and(|(nonce, rest)| {
            nonce.len() == 16
                && nonce.bytes().all(|byte| byte.is_ascii_hexdigit())
                && rest.ends_with(':')
        })
    })
}

/// The name of a host and `login:`, perhaps several times because Enter was pressed. Boot noise and greetings contain
/// the word too: `Last failed login: Sat …`.
fn is_login(line: &str) -> bool {
    let Some(head) = line.trim_end().strip_suffix("login:") else {
        return false;
    };
    match head.trim_end().rsplit_once(' ') {
        // Without a host, or with nothing before it.
        None => head.is_empty() || head.ends_with(' '),
        Some((before, _)) => head.ends_with(' ') && is_login(before),
    }
}

fn is_password(lower: &str) -> bool {
    lower.len() < 60
        && lower
            .strip_suffix(':')
            .is_some_and(|head| head.contains("password") && !head.contains(']'))
}

/// Prompts of the shells in Fedora, Debian, Alpine, Cirros and busybox: who and where, then a sign and a blank.
fn is_shell(line: &str) -> bool {
    let Some(head) = line
        .strip_suffix("$ ")
        .or_else(|| line.strip_suffix("# "))
        .or_else(|| line.strip_suffix("% "))
        .or_else(|| line.strip_suffix("> "))
    else {
        return false;
    };
    let head = head.trim_end();
    // `$ `, `/root # `, `sh-5.2$ `, `~ $ `
    let bare = head.is_empty()
        || head.starts_with('/')
        || head.starts_with('~')
        || head.starts_with("sh-")
        || head.starts_with("bash-");
    // `[fedora@vm ~]$ `, `fedora@vm:~$ `, `localhost:~# `
    let place = head
        .trim_start_matches('[')
        .trim_end_matches(']')
        .contains(['@', ':'])
        && !head.contains("] ")
        && head.split_whitespace().count() <= 2;
    bare && head.split_whitespace().count() <= 1 || place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(
        "Fedora Linux 41\nKernel 6.11 on an x86_64 (ttyS0)\n\nvm-client login: ",
        Some(Waits::User)
    )]
    #[case("\ntiny login: ", Some(Waits::User))]
    #[case("\nvm login: vm login: vm login: ", Some(Waits::User))]
    #[case("Last failed login: ", None)]
    #[case(
        "Last failed login: Sat Nov 21 12:00:00 on ttyS0\n[fedora@vm ~]$ ",
        Some(Waits::Command)
    )]
    #[case("vm login: [   12.345678] cloud-init[512]: started", None)]
    #[case("Password: ", Some(Waits::Password))]
    #[case("(current) UNIX password: ", Some(Waits::NewPassword))]
    #[case("New password: ", Some(Waits::NewPassword))]
    #[case("[  OK  ] Reached target Login Prompts: # ", None)]
    #[case("fedora@vm-client:~$ ", Some(Waits::Command))]
    #[case("localhost:~# ", Some(Waits::Command))]
    #[case("/root # ", Some(Waits::Command))]
    #[case("$ ", Some(Waits::Command))]
    #[case("sh-5.2$ ", Some(Waits::Command))]
    #[case("total cost in $ ", None)]
    #[case("[    0.000000] Command line: a=b # ", None)]
    #[case("", None)]
    fn prompts(#[case] screen: &str, #[case] expected: Option<Waits>) {
        assert_eq!(waits(screen), expected);
    }

    #[test]
    fn a_question_for_the_password_is_seen_below_noise() {
        assert!(asked_for_password(
            "fedora\nPassword: [   33.1] audit: type=1100\n"
        ));
        assert!(!asked_for_password("vm login: fedora\n"));
    }

    #[test]
    fn refusals_are_seen() {
        assert_eq!(
            refused("\nLogin incorrect\n\nvm login: "),
            Some("Login incorrect")
        );
        assert_eq!(refused("Last login: Sat\n$ "), None);
    }
}
