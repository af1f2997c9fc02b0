//! What every report makes of the same streams.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure of a test"
)]

mod support;

use std::{
    io,
    sync::{Arc, Mutex},
};

use trunkline_engine::{
    ExitClass,
    events::{CaseOutcome, Event, EventKind, Evidence, EvidenceSource, StepOutcome},
};
use trunkline_report::{
    Consumer, JsonLines, Junit, Markdown, Palette, Plain, Reports, Tally, Volume,
};

/// A writer whose content can be looked at afterwards.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn report<C: Consumer + 'static>(
    events: &[Event],
    consumer: impl FnOnce(Page) -> C,
) -> (String, Tally) {
    let page = Page::default();
    let mut reports = Reports::of(vec![Box::new(consumer(page.clone()))]);
    for event in events {
        reports.event(event);
    }
    let tally = reports.finish().unwrap();
    (page.text(), tally)
}

fn terminal(events: &[Event], palette: Palette, volume: Volume) -> String {
    report(events, |page| Plain::new(page, palette, volume)).0
}

#[test]
fn a_passing_run_on_the_terminal() {
    insta::assert_snapshot!(terminal(
        &support::passing(),
        Palette::plain(),
        Volume::Normal
    ));
}

#[test]
fn a_passing_run_told_at_length() {
    insta::assert_snapshot!(terminal(
        &support::passing(),
        Palette::plain(),
        Volume::Verbose
    ));
}

#[test]
fn quiet_output_of_a_passing_run_is_one_line() {
    assert_eq!(
        terminal(&support::passing(), Palette::plain(), Volume::Quiet),
        "1 passed, 0 failed, 0 skipped\n"
    );
}

#[test]
fn a_failing_run_on_the_terminal() {
    insta::assert_snapshot!(terminal(
        &support::failing(),
        Palette::plain(),
        Volume::Normal
    ));
}

#[test]
fn quiet_output_still_tells_failures() {
    insta::assert_snapshot!(terminal(
        &support::failing(),
        Palette::plain(),
        Volume::Quiet
    ));
}

#[test]
fn colours_are_only_there_when_asked_for() {
    let escape = '\u{1b}';
    assert!(terminal(&support::passing(), Palette::coloured(), Volume::Normal).contains(escape));
    assert!(!terminal(&support::failing(), Palette::plain(), Volume::Verbose).contains(escape));
}

#[test]
fn junit_of_a_passing_run() {
    insta::assert_snapshot!(report(&support::passing(), |page| Junit::new("junit.xml", page)).0);
}

#[test]
fn junit_of_a_failing_run() {
    insta::assert_snapshot!(report(&support::failing(), |page| Junit::new("junit.xml", page)).0);
}

#[test]
fn markdown_of_a_passing_run() {
    insta::assert_snapshot!(
        report(&support::passing(), |page| Markdown::new(
            "summary.md",
            page
        ))
        .0
    );
}

#[test]
fn markdown_of_a_failing_run() {
    insta::assert_snapshot!(
        report(&support::failing(), |page| Markdown::new(
            "summary.md",
            page
        ))
        .0
    );
}

#[test]
fn a_summary_is_added_to_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("summary.md");
    std::fs::write(&path, "before\n").unwrap();
    for _ in 0..2 {
        let options = trunkline_report::ReportOptions {
            terminal: trunkline_report::Terminal::Off,
            markdown: Some(path.clone()),
            ..Default::default()
        };
        let mut reports = Reports::new(&options).unwrap();
        for event in support::passing() {
            reports.event(&event);
        }
        reports.finish().unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("before\n### trunkline on lab"), "{text}");
    assert_eq!(text.matches("### trunkline").count(), 2, "{text}");
}

#[test]
fn json_lines_give_the_stream_back() {
    let events = support::failing();
    let (text, _) = report(&events, |page| JsonLines::new("events.jsonl", page));
    let read: Vec<Event> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(read, events);
}

#[test]
fn the_format_of_the_stream_is_held() {
    let (text, _) = report(&support::passing(), |page| {
        JsonLines::new("events.jsonl", page)
    });
    insta::assert_snapshot!(text);
}

#[test]
fn counts_and_what_they_amount_to() {
    let (_, tally) = report(&support::failing(), |page| {
        JsonLines::new("events.jsonl", page)
    });
    assert_eq!(
        tally.closing_line(),
        "1 passed, 1 failed, 1 skipped, 1 broken"
    );
    assert_eq!(tally.exit_class(), ExitClass::Broken);
    let (_, tally) = report(&support::passing(), |page| {
        JsonLines::new("events.jsonl", page)
    });
    assert_eq!((tally.exit_class(), tally.probes), (ExitClass::Success, 1));
    assert_eq!(Tally::default().exit_class(), ExitClass::Skipped);
}

#[test]
fn a_report_that_cannot_be_written_names_its_file() {
    let options = trunkline_report::ReportOptions {
        terminal: trunkline_report::Terminal::Off,
        junit: Some("/proc/nowhere/junit.xml".into()),
        ..Default::default()
    };
    let error = Reports::new(&options).unwrap_err().to_string();
    assert!(
        error.starts_with("the report /proc/nowhere/junit.xml cannot be written: "),
        "{error}"
    );
}

#[test]
fn a_full_disk_is_reported_and_stops_no_other_report() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let page = Page::default();
    let mut reports = Reports::of(vec![
        Box::new(JsonLines::new("events.jsonl", Full)),
        Box::new(Plain::new(page.clone(), Palette::plain(), Volume::Quiet)),
    ]);
    for event in support::passing() {
        reports.event(&event);
    }
    assert!(
        reports
            .finish()
            .unwrap_err()
            .to_string()
            .contains("events.jsonl")
    );
    assert_eq!(page.text(), "1 passed, 0 failed, 0 skipped\n");
}

/// A site that can say no more than that nothing came: whoever reads the report must see that only time decided.
#[test]
fn a_verdict_that_only_the_deadline_decided_says_so_everywhere() {
    let summary = "silence for 2000ms; the site kind has no further evidence";
    let info = support::step(0, "It is blocked", "curl");
    let mut inside = support::probe(
        1,
        "http://192.168.200.4/",
        "blocked",
        "blocked: no answer within 2000ms",
        Vec::new(),
    );
    inside.push(EventKind::Evidence(Evidence {
        probe: Some(1),
        source: EvidenceSource::Deadline,
        summary: summary.into(),
        object: None,
        detail: String::new(),
    }));
    let mut stream = support::Stream::new(1);
    stream.case("a", "A", &[], vec![info.clone()]);
    stream.step(&info, 2000, StepOutcome::Passed, inside);
    stream.end_case(CaseOutcome::Passed, 2001);
    let events = stream.end(2002);
    let page = terminal(&events, Palette::plain(), Volume::Normal);
    assert!(page.contains(summary), "{page}");
    let (xml, _) = report(&events, |page| Junit::new("junit.xml", page));
    assert!(xml.contains(summary), "{xml}");
}
