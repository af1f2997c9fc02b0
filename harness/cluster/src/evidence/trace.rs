//! What `ovn-trace` prints, as far as it tells where a packet ends and why. Pure.

/// A way through the logical network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    pub end: End,
    /// The last addresses a router gave the packet.
    pub eth_src: Option<String>,
    pub eth_dst: Option<String>,
    /// Routers passed.
    pub hops: u8,
    /// The last steps, as printed.
    pub tail: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Dropped(Drop),
    /// It reaches the port of a pod.
    Delivered(String),
    /// It goes to another zone, through this port.
    Remote(String),
    /// It leaves the logical network for the physical one.
    Physical(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drop {
    /// The stage it does not get past: `ls_out_acl_action`.
    pub stage: String,
    /// The rule that decided, where it is an ACL.
    pub acl: Option<AclFlow>,
    /// The pod's port the ACL is about: where it enters, or would have come out.
    pub port: Option<String>,
}

/// The logical flow that northd made of an ACL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AclFlow {
    pub direction: Direction,
    /// With what northd adds to the ACL's own: tier, connection state.
    pub matched: String,
    /// That of the ACL and 1000.
    pub priority: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    FromPort,
    ToPort,
}

impl Direction {
    /// As an ACL has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FromPort => "from-lport",
            Self::ToPort => "to-lport",
        }
    }
}

/// ` 6. ls_out_acl_eval (northd.c:7072): MATCH, priority 2000, uuid 5574928c` and the actions below it.
struct Step<'t> {
    stage: &'t str,
    matched: &'t str,
    priority: u32,
    actions: Vec<&'t str>,
    inport: &'t str,
    outport: &'t str,
}

/// How many lines of a trace are kept as evidence.
const TAIL: usize = 14;

impl Trace {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut steps: Vec<Step<'_>> = Vec::new();
        let mut outputs: Vec<(&str, &str)> = Vec::new();
        let (mut inport, mut outport) = ("", "");
        for line in text.lines().map(str::trim) {
            if let Some(step) = step(line, inport, outport) {
                steps.push(step);
            } else if line.starts_with("ingress(") || line.starts_with("egress(") {
                inport = quoted(line, "inport=").unwrap_or_default();
                outport = quoted(line, "outport=").unwrap_or_default();
            } else if let Some(output) = output(line) {
                outputs.push(output);
            } else if let Some(step) = steps.last_mut().filter(|_| line.ends_with(';')) {
                step.actions.push(line);
            }
        }
        let Some(last) = steps.last() else {
            return Err(format!("ovn-trace says {}", first_line(text)));
        };
        let actions = || steps.iter().flat_map(|step| &step.actions);
        let assigned = |field: &str| {
            let mut values =
                actions().filter_map(|action| action.strip_prefix(field)?.strip_prefix(" = "));
            let last = values.next_back()?;
            last.strip_suffix(';').map(str::to_owned)
        };
        let of = |kinds: &[&str]| {
            let found = outputs.iter().find(|(_, kind)| kinds.contains(kind));
            found.map(|(port, _)| (*port).to_owned())
        };
        let end = if let Some(port) = of(&[""]) {
            End::Delivered(port)
        } else if let Some(port) = of(&["remote"]) {
            End::Remote(port)
        } else if let Some(port) = of(&["localnet"]) {
            End::Physical(port)
        } else {
            End::Dropped(dropped(&steps, last))
        };
        let lines: Vec<_> = text.trim_end().lines().collect();
        Ok(Self {
            end,
            eth_src: assigned("eth.src"),
            eth_dst: assigned("eth.dst"),
            hops: u8::try_from(actions().filter(|action| **action == "ip.ttl--;").count())
                .unwrap_or(u8::MAX),
            tail: lines[lines.len().saturating_sub(TAIL)..].join("\n"),
        })
    }
}

/// An ACL's verdict is set by the stage that evaluates it and carried out by the one after: `reg8[17]` is to drop.
fn dropped(steps: &[Step<'_>], last: &Step<'_>) -> Drop {
    let carried_out = last.stage.contains("_acl") && last.matched.contains("reg8[17] == 1");
    let decided = steps.iter().rev().find(|step| {
        step.stage.contains("_acl")
            && step
                .actions
                .iter()
                .any(|action| matches!(*action, "reg8[17] = 1;" | "drop;"))
    });
    let decided = decided.filter(|step| carried_out || std::ptr::eq(*step, last));
    let acl = decided.map(|step| AclFlow {
        direction: if step.stage.starts_with("ls_out_") {
            Direction::ToPort
        } else {
            Direction::FromPort
        },
        matched: step.matched.to_owned(),
        priority: step.priority,
    });
    let port = acl.as_ref().map(|acl| match acl.direction {
        Direction::FromPort => last.inport.to_owned(),
        Direction::ToPort => last.outport.to_owned(),
    });
    Drop {
        stage: last.stage.to_owned(),
        acl,
        port: port.filter(|port| !port.is_empty()),
    }
}

fn step<'t>(line: &'t str, inport: &'t str, outport: &'t str) -> Option<Step<'t>> {
    let (number, rest) = line.split_once(". ")?;
    number.parse::<u8>().ok()?;
    let (stage, rest) = rest.split_once(" (")?;
    let (_, rest) = rest.split_once("): ")?;
    let (rest, _) = rest.rsplit_once(", uuid ")?;
    let (matched, priority) = rest.rsplit_once(", priority ")?;
    Some(Step {
        stage,
        matched,
        priority: priority.parse().ok()?,
        actions: Vec::new(),
        inport,
        outport,
    })
}

/// `/* output to "np_web", type "" */`
fn output(line: &str) -> Option<(&str, &str)> {
    let port = quoted(line, "/* output to ")?;
    let kind = quoted(line, ", type ")?;
    Some((port, kind))
}

/// What stands in quotes after a word.
fn quoted<'t>(line: &'t str, before: &str) -> Option<&'t str> {
    let (_, rest) = line.split_once(before)?;
    let rest = rest.strip_prefix('"')?;
    rest.split_once('"').map(|(text, _)| text)
}

fn first_line(text: &str) -> &str {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .unwrap_or("nothing")
}
