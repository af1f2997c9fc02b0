//! As much of the shell as documents use: which commands a script runs, and with which words.

use std::{iter::Peekable, mem, str::Chars};

use rstest::rstest;

/// Words that may stand before a command.
const BEFORE: [&str; 10] = [
    "!", "{", "if", "then", "else", "elif", "while", "do", "sudo", "eval",
];

/// The simple commands of a script, those of substitutions included; variables have some fitting value.
pub fn commands(script: &str) -> Vec<Vec<String>> {
    let mut shell = Shell {
        rest: script.chars().peekable(),
        commands: Vec::new(),
    };
    shell.list(false);
    shell.commands
}

struct Shell<'s> {
    rest: Peekable<Chars<'s>>,
    commands: Vec<Vec<String>>,
}

/// A command as far as it was read.
#[derive(Default)]
struct Partial {
    words: Vec<String>,
    word: Option<String>,
    /// The next word is a file, not an argument.
    redirects: bool,
}

impl Partial {
    fn push(&mut self, text: &str) {
        self.word.get_or_insert_default().push_str(text);
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if !mem::take(&mut self.redirects) {
            self.words.push(word);
        }
    }

    /// `2>` is no argument and a redirection.
    fn redirect(&mut self) {
        let is_number = |word: &String| word.chars().all(|c| c.is_ascii_digit());
        if self.word.as_ref().is_some_and(is_number) {
            self.word = None;
        }
        self.end_word();
        self.redirects = true;
    }
}

impl Shell<'_> {
    /// Commands up to the end, or up to the bracket that closes a substitution.
    fn list(&mut self, substitution: bool) {
        let mut partial = Partial::default();
        while let Some(c) = self.rest.next() {
            match c {
                ')' if substitution => break,
                '\n' | ';' | '|' | '&' | '(' | ')' => self.end(mem::take(&mut partial)),
                ' ' | '\t' => partial.end_word(),
                '#' if partial.word.is_none() => {
                    while self.rest.next_if(|c| *c != '\n').is_some() {}
                }
                '\'' => {
                    partial.push("");
                    while let Some(c) = self.rest.next_if(|c| *c != '\'') {
                        partial.push(c.encode_utf8(&mut [0; 4]));
                    }
                    self.rest.next();
                }
                '"' => self.quoted(&mut partial),
                '$' => self.expansion(&mut partial),
                '\\' => match self.rest.next() {
                    Some('\n') | None => partial.end_word(),
                    Some(c) => partial.push(c.encode_utf8(&mut [0; 4])),
                },
                '<' | '>' => {
                    partial.redirect();
                    while self
                        .rest
                        .next_if(|c| matches!(c, '<' | '>' | '&'))
                        .is_some()
                    {}
                }
                c => partial.push(c.encode_utf8(&mut [0; 4])),
            }
        }
        self.end(partial);
    }

    fn end(&mut self, mut partial: Partial) {
        partial.end_word();
        let words = partial.words.into_iter();
        let words: Vec<_> = words
            .skip_while(|word| BEFORE.contains(&word.as_str()) || is_assignment(word))
            .collect();
        if !words.is_empty() {
            self.commands.push(words);
        }
    }

    fn quoted(&mut self, partial: &mut Partial) {
        partial.push("");
        while let Some(c) = self.rest.next() {
            match c {
                '"' => break,
                '$' => self.expansion(partial),
                '\\' => partial.push(self.rest.next().unwrap_or('\\').encode_utf8(&mut [0; 4])),
                c => partial.push(c.encode_utf8(&mut [0; 4])),
            }
        }
    }

    /// What follows a dollar.
    fn expansion(&mut self, partial: &mut Partial) {
        let mut name = String::new();
        match self.rest.peek() {
            Some('(') => {
                self.rest.next();
                self.list(true);
                partial.push("output");
                return;
            }
            Some('{') => {
                self.rest.next();
                name.extend(std::iter::from_fn(|| self.rest.next_if(|c| *c != '}')));
                self.rest.next();
            }
            _ => {
                let of_name = |c: &char| c.is_alphanumeric() || *c == '_';
                name.extend(std::iter::from_fn(|| self.rest.next_if(of_name)));
            }
        }
        partial.push(value(&name));
    }
}

/// Something the workflows may well put there.
fn value(variable: &str) -> &str {
    match variable {
        "WORKERS" | "CASES" => "2",
        "PROFILE" => "plain",
        other => other,
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_')
    })
}

#[rstest]
#[case("a b # c", &["a b"])]
#[case("a 'b c'; d \"e f\"", &["a b c", "d e f"])]
#[case("eval \"$(a b)\" && c", &["a b", "output", "c"])]
#[case("a b 2>&1 >file | c <<<\"$X\" || true", &["a b", "c", "true"])]
#[case("x=$(a \"${y[@]}\" 2>z) || { b c; exit 1; }", &["a y[@]", "b c", "exit 1", "}"])]
#[case("a \\\n  b\nif c; then d; fi", &["a b", "c", "d", "fi"])]
#[case("a --workers \"$WORKERS\" b#c", &["a --workers 2 b#c"])]
fn a_script_falls_into_its_commands(#[case] script: &str, #[case] expected: &[&str]) {
    let found: Vec<_> = commands(script)
        .iter()
        .map(|words| words.join(" "))
        .collect();
    assert_eq!(found, expected);
}
