//! What cloud-init's log and status say.

use std::fmt::Write as _;

use crate::clock::Utc;

/// The stages of a boot, as `status.json` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    InitLocal,
    Init,
    ModulesConfig,
    ModulesFinal,
}

impl Stage {
    pub const ALL: [Self; 4] = [
        Self::InitLocal,
        Self::Init,
        Self::ModulesConfig,
        Self::ModulesFinal,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::InitLocal => "init-local",
            Self::Init => "init",
            Self::ModulesConfig => "modules-config",
            Self::ModulesFinal => "modules-final",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub stage: Stage,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub stage: Stage,
    /// The module, as the status names it.
    pub module: String,
    pub text: String,
}

/// Everything worth telling, in the order in which it happened.
#[derive(Debug)]
pub struct Journal {
    pub stage: Stage,
    pub warnings: Vec<Warning>,
    pub failures: Vec<Failure>,
    unwritten: String,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            stage: Stage::InitLocal,
            warnings: Vec::new(),
            failures: Vec::new(),
            unwritten: String::new(),
        }
    }
}

impl Journal {
    fn line(&mut self, module: &str, level: &str, text: &str) {
        let stamp = Utc::now().log_stamp();
        let _infallible = writeln!(self.unwritten, "{stamp} - {module}.py[{level}]: {text}");
    }

    pub fn info(&mut self, module: &str, text: &str) {
        self.line(module, "INFO", text);
    }

    /// Shows as a recoverable error: the boot is degraded.
    pub fn warn(&mut self, module: &str, text: impl Into<String>) {
        let text = text.into();
        self.line(module, "WARNING", &text);
        let stage = self.stage;
        self.warnings.push(Warning { stage, text });
    }

    /// A module did not do what it was told.
    pub fn fail(&mut self, module: &str, text: impl Into<String>) {
        let text = text.into();
        self.line(module, "ERROR", &text);
        let module = module.trim_start_matches("cc_").to_owned();
        let stage = self.stage;
        self.failures.push(Failure {
            stage,
            module,
            text,
        });
    }

    /// The lines that are not in the log yet.
    pub fn take_lines(&mut self) -> String {
        std::mem::take(&mut self.unwritten)
    }
}
