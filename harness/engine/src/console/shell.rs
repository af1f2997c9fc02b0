//! What is typed into a guest: words quoted for its shell, and the small program that carries out commands there.
//!
//! An interactive shell is no place for commands: it echoes, edits, prompts and wraps. So the only thing that is ever
//! typed at a prompt starts a shell program that reads lines and does what they say, without echo and prompts:
//!
//! ```text
//! +TEXT      a line of the next command        -TEXT   the same without the newline
//! <TEXT      base64 of its standard input
//! !JOB       run it, as a job of its own
//! g Q JOB SIZE            checksums, and the first SIZE bytes of each stream
//! b Q JOB STREAM SIZE N…  pieces of a stream
//! s Q JOB    how the job stands                k JOB SIGNAL
//! x JOB      forget it                         q       end
//! (nothing)  who is there
//! ```
//!
//! What it prints begins with a word that only this connection knows. Where that word is typed it is in two halves, so
//! that no echo can be taken for an answer. Everything binary is base64 in pieces of known length, and the streams of a
//! job stay in files until they have arrived whole: what the kernel prints in between costs a repetition, nothing else.

/// No line sent is longer: a terminal takes 4096 bytes up to the next newline.
pub(super) const LONGEST_LINE: usize = 3500;

/// The word only this connection knows, and its two halves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nonce(String);

impl Nonce {
    pub fn random() -> Self {
        use rand::Rng as _;
        let number: u64 = rand::rng().random();
        Self(format!("{number:016x}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn halves(&self) -> (&str, &str) {
        self.0.split_at(8)
    }
}

/// Typed at a prompt: echo off, and a shell that reads one line and does it.
pub(super) fn first_line(nonce: &Nonce) -> String {
    let (a, b) = nonce.halves();
    format!(
        " stty sane -echo cols 500 2>/dev/null; \
         sh -c 'printf \"\\n%s%s:r:\\n\" {a} {b}; IFS= read -r l; eval \"$l\"' 2>/dev/null; \
         stty sane 2>/dev/null\r"
    )
}

/// The program, as the one line that the first line waits for.
pub(super) fn program(nonce: &Nonce) -> String {
    let (a, b) = nonce.halves();
    let text: String = PROGRAM
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| match line.as_bytes().last() {
            // Words after which a shell wants no separator.
            Some(b'{' | b'(' | b';' | b'&' | b'|') => format!("{line} "),
            _ if ends_with_keyword(line) => format!("{line} "),
            _ => format!("{line}; "),
        })
        .collect();
    format!("N={a}''{b}; {}\n", text.trim_end())
}

fn ends_with_keyword(line: &str) -> bool {
    ["do", "then", "else", "in"]
        .iter()
        .any(|word| line == *word || line.ends_with(&format!(" {word}")))
}

/// POSIX shell, and of programs `base64`, `cksum` and `dd`.
const PROGRAM: &str = r#"
umask 077
L=$(printf '\n.')
L=${L%.}
for d in /tmp /dev/shm /run "$HOME"; do
  d=$d/.trunkline-$N
  mkdir -p "$d" 2>/dev/null
  [ -w "$d" ] && break
done
m=
for t in base64 cksum dd; do
  command -v $t >/dev/null || m="$m $t"
done
B=
[ -r /proc/sys/kernel/random/boot_id ] && read -r B </proc/sys/kernel/random/boot_id
p() { printf '\n%s\n' "$N:$1:"; }
h() { p "h:${LOGNAME:-$USER}:${m# }:$B"; }
D() {
  o=0
  [ -s "$d/$1.o" ] && o=1
  e=0
  [ -s "$d/$1.e" ] && e=1
  n=0
  [ -s "$d/$1.m" ] && n=1
  for t in 1 2 3; do
    p "d:$1:$2:$o:$e:$n"
  done
}
x() { command -v "$1" >/dev/null 2>&1 || { echo "$1" >"$d/$i.m"; exit 127; }; }
R() {
  i=$1
  f=/dev/null
  [ -n "$w" ] && { printf '%s' "$w" | base64 -d >"$d/$i.i"; f=$d/$i.i; }
  : >"$d/$i.o"
  set -m
  ( trap : INT TERM; ( eval "$s" ) <"$f" >"$d/$i.o" 2>"$d/$i.e"; c=$?; echo $c >"$d/$i.c"; D $i $c ) &
  eval "P$i=\$!"
  set +m
  p "a:$i"
  s=
  w=
}
K() {
  eval "v=\${P$1:-}"
  [ -n "$v" ] && { kill -s $2 -- -$v || kill -$2 -$v || kill -s $2 $v; }
  case $2 in KILL) echo 137 >"$d/$1.c"; D $1 137;; esac
}
b() {
  p "b:$1:$3:$4:$5"
  dd if="$d/$2.$3" bs=$4 skip=$5 count=1 | base64
  p "f:$1:$3:$4:$5"
}
Z() { for t in 1 2 3; do p "z:$1"; done; }
G() {
  p "b:$1:c:0:0"
  cksum <"$d/$2.o"
  cksum <"$d/$2.e"
  p "f:$1:c:0:0"
  for v in o e; do
    [ -s "$d/$2.$v" ] && b $1 $2 $v $3 0
  done
  Z $1
}
M() {
  q=$1 j=$2 v=$3 z=$4
  shift 4
  for k; do
    b $q $j $v $z $k
  done
  Z $q
}
S() {
  if [ -s "$d/$2.c" ]; then
    read -r c <"$d/$2.c"
    D $2 $c
  elif [ -e "$d/$2.o" ]; then
    p "s:$1:r"
  else
    p "s:$1:n"
  fi
}
X() { for v in o e i m; do [ -e "$d/$1.$v" ] && : >"$d/$1.$v"; done; }
s=
w=
h
( dmesg -n 1 || nice -n 19 sudo -n dmesg -n 1 ) </dev/null >/dev/null 2>&1 &
while IFS= read -r l; do
  case $l in
    '') h;;
    +*) s="$s${l#?}$L";;
    -*) s="$s${l#?}";;
    '<'*) w="$w${l#?}";;
    !*) R "${l#?}";;
    'g '*) set -- $l; shift; G "$@";;
    'b '*) set -- $l; shift; M "$@";;
    's '*) set -- $l; shift; S "$@";;
    'k '*) set -- $l; shift; K "$@";;
    'x '*) set -- $l; shift; X "$@";;
    q) rm -rf "$d"; break;;
    *) printf '\n%s\n' 'a test uses this console; Ctrl-D gives it back';;
  esac
done
"#;

/// Words as the shell reads them back: what must be said before, and the words.
///
/// A terminal does things when it reads control characters, even between quotes, and may not carry more than ASCII; words
/// with such characters are spelt out and put together in the guest.
#[derive(Debug, Default)]
pub(super) struct Words {
    before: String,
    words: Vec<String>,
}

impl Words {
    pub fn of<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Self {
        let mut all = Self::default();
        for word in words {
            all.push(word.as_ref());
        }
        all
    }

    pub fn push(&mut self, word: &str) -> &mut Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
        let typed = |c: char| matches!(c, ' '..='~' | '\n');
        if !word.is_empty() && word.chars().all(plain) {
            self.words.push(word.to_owned());
        } else if word.chars().all(typed) {
            self.words
                .push(format!("'{}'", word.replace('\'', r"'\''")));
        } else {
            let name = format!("t{}", self.words.len());
            let spelt: String = word.bytes().map(spell).collect();
            // `$(…)` drops newlines at the end; the dot keeps them.
            let line = format!("{name}=$(printf '{spelt}.'); {name}=${{{name}%.}}\n");
            self.before.push_str(&line);
            self.words.push(format!("\"${name}\""));
        }
        self
    }

    /// The words behind what goes before them, after `command`.
    pub fn script(&self, command: &str) -> String {
        format!("{}{command} {}", self.before, self.words.join(" "))
    }
}

/// A byte in the format of `printf`.
fn spell(byte: u8) -> String {
    match byte {
        b'%' => "%%".into(),
        b' '..=b'~' if !b"\\'".contains(&byte) => char::from(byte).to_string(),
        byte => format!("\\{byte:03o}"),
    }
}

/// The lines that make a script the next command, and those of its standard input.
pub(super) fn lines(script: &str, stdin: Option<&[u8]>) -> String {
    use base64::Engine as _;
    let mut sent = String::new();
    for line in script.split('\n') {
        let mut rest = line;
        while rest.len() > LONGEST_LINE {
            let mut cut = LONGEST_LINE;
            while !rest.is_char_boundary(cut) {
                cut -= 1;
            }
            let (head, tail) = rest.split_at(cut);
            sent.push('-');
            sent.push_str(head);
            sent.push('\n');
            rest = tail;
        }
        sent.push('+');
        sent.push_str(rest);
        sent.push('\n');
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(stdin.unwrap_or_default());
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(rest.len().min(LONGEST_LINE));
        sent.push('<');
        sent.push_str(head);
        sent.push('\n');
        rest = tail;
    }
    sent
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn said(script: &str) -> Vec<u8> {
        Command::new("sh")
            .arg("-c")
            .arg(script)
            .output()
            .unwrap()
            .stdout
    }

    #[rstest::rstest]
    #[case("plain-word_1.2/3:4")]
    #[case("it's \"quoted\" $HOME `ls` \\ !")]
    #[case("two\nlines\n")]
    #[case("tab\tand\u{1}\u{3}\u{4}control\r\n\n")]
    #[case("grün % 50% \\n 'x'")]
    #[case("")]
    fn words_come_back_as_they_were(#[case] word: &str) {
        let script = Words::of([word]).script("printf %s");
        assert_eq!(said(&script), word.as_bytes(), "{script}");
    }

    #[test]
    fn what_is_typed_fits_and_never_holds_the_nonce() {
        let nonce = Nonce::random();
        let first = first_line(&nonce);
        // The editor of busybox takes 1024 bytes, a terminal 4096.
        assert!(first.len() < 400 && program(&nonce).len() < 4000);
        assert!(!first.contains(nonce.as_str()) && !program(&nonce).contains(nonce.as_str()));
        assert_eq!(program(&nonce).lines().count(), 1);
    }

    #[test]
    fn the_program_is_one_that_shells_understand() {
        for shell in ["dash", "bash", "busybox"] {
            let mut command = Command::new(shell);
            if shell == "busybox" {
                command.arg("sh");
            }
            let Ok(ran) = command.arg("-nc").arg(program(&Nonce::random())).output() else {
                eprintln!("skipped: {shell} is not on this machine");
                continue;
            };
            assert!(
                ran.status.success(),
                "{shell}: {}",
                String::from_utf8_lossy(&ran.stderr)
            );
        }
    }

    #[test]
    fn long_lines_are_sent_in_pieces_and_put_together_again() {
        let script = format!("echo {}\nü{}", "x".repeat(9000), "ü".repeat(3000));
        let sent = lines(&script, Some(&[7; 9000]));
        assert!(sent.lines().all(|line| line.len() <= LONGEST_LINE + 1));
        let mut back = String::new();
        for line in sent.lines() {
            match line.split_at(1) {
                ("+", text) => back.extend([text, "\n"]),
                ("-", text) => back.push_str(text),
                ("<", _) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(back, format!("{script}\n"));
    }
}
