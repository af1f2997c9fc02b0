//! Requests of the other programs, and answers that have to wait.

use std::time::{Duration, Instant};

use super::{Phase, Supervisor};
use crate::control::{Client, Request, Verb};
use crate::services::{Reply, units};

/// Those who will be answered later.
#[derive(Debug, Default)]
pub struct Waiters {
    cloud: Vec<(Client, bool, bool)>,
    services: Vec<(Client, String, Verb)>,
}

fn failure(exit: u8, err: String) -> Reply {
    Reply {
        exit,
        out: String::new(),
        err,
    }
}

impl Supervisor {
    pub(super) fn on_request(&mut self, client: Client, request: Request, now: Instant) {
        if !client.is_root && !request.is_harmless() {
            client.answer(&failure(
                4,
                "Interactive authentication required: this takes root, so use sudo.\n".to_owned(),
            ));
            return;
        }
        match request {
            Request::Service { verb, unit } => self.on_service(client, verb, &unit, now),
            Request::ListUnits => client.answer(&Reply {
                out: self.services.list(),
                ..Reply::default()
            }),
            Request::CloudStatus { wait, json, long } => {
                self.waiters.cloud.push((client, json, long));
                if !wait {
                    self.answer_cloud();
                }
            }
            Request::Down { how, after_s } => {
                client.answer(&Reply::default());
                self.go_down(how, Duration::from_secs(after_s));
            }
            Request::CancelDown => {
                self.down = None;
                client.answer(&Reply::default());
            }
        }
    }

    fn on_service(&mut self, client: Client, verb: Verb, unit: &str, now: Instant) {
        if unit.ends_with(".target") {
            client.answer(&Reply::default());
            return;
        }
        if matches!(verb, Verb::Start | Verb::Restart) && units::is_ssh(unit) {
            // The server opens the port itself.
            self.ssh = None;
        }
        let begun = match verb {
            Verb::Start => self.services.start(unit, now),
            Verb::Stop => self.services.stop(unit, now),
            Verb::Restart => self.services.restart(unit, now),
            Verb::Reload => {
                let reply = self.services.reload(unit);
                client.answer(&reply.unwrap_or_else(|| not_found(verb, unit)));
                return;
            }
            Verb::Status => {
                let reply = self.services.status(unit);
                client.answer(&reply.unwrap_or_else(|| not_found(verb, unit)));
                return;
            }
            Verb::IsActive => {
                let (state, active) = self.services.is_active(unit);
                client.answer(&Reply {
                    exit: if active { 0 } else { 3 },
                    out: format!("{state}\n"),
                    err: String::new(),
                });
                return;
            }
        };
        match begun {
            Some(name) => self.waiters.services.push((client, name, verb)),
            None => client.answer(&not_found(verb, unit)),
        }
    }

    /// Those whose time has come.
    pub(super) fn answer_waiters(&mut self) {
        if matches!(self.phase, Phase::Up) {
            self.answer_cloud();
        }
        let waiting = std::mem::take(&mut self.waiters.services);
        for (client, name, verb) in waiting {
            if !self.services.is_settled(&name) {
                self.waiters.services.push((client, name, verb));
            } else if verb == Verb::Stop || self.services.is_up(&name) {
                client.answer(&Reply::default());
            } else {
                client.answer(&failure(
                    1,
                    format!("Job for {name} failed because the control process exited with error code.\nSee \"systemctl status {name}\" for details.\n"),
                ));
            }
        }
    }

    fn answer_cloud(&mut self) {
        for (client, json, long) in self.waiters.cloud.drain(..) {
            let status = self.cloud.status();
            let out = if json {
                status.json()
            } else {
                status.tabular(long)
            };
            client.answer(&Reply {
                exit: status.exit,
                out,
                err: String::new(),
            });
        }
    }
}

fn not_found(verb: Verb, unit: &str) -> Reply {
    let word = match verb {
        Verb::Status => return failure(4, format!("Unit {unit} could not be found.\n")),
        Verb::Stop => "stop",
        Verb::Restart => "restart",
        Verb::Reload => "reload",
        Verb::Start | Verb::IsActive => "start",
    };
    failure(
        5,
        format!("Failed to {word} {unit}: Unit {unit} not found.\n"),
    )
}
