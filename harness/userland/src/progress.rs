//! How far a long piece of work has come.

/// One report. Phases come in order; fractions grow within a phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What is being made: `root file system lab`, an image reference.
    pub what: String,
    /// What is being done now: `downloading packages`.
    pub phase: String,
    /// Of the whole, 0 to 1, where it is known.
    pub fraction: Option<f32>,
}

/// Receives reports; called from the task that does the work, so it must not block.
pub type Observer<'a> = &'a (dyn Fn(Progress) + Send + Sync);
