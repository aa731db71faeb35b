//! What its LocalAPI answers.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use simple_dns::{
    CLASS, Name, Packet, ResourceRecord,
    rdata::{self, RData},
};
use tokio::{
    io::DuplexStream,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{FakeTailscaled, Life, State};

/// The bits of a watcher's mask (ipn.NotifyWatchOpt).
const INITIAL_STATE: u32 = 1 << 1;
const INITIAL_HEALTH: u32 = 1 << 7;
const PEER_CHANGES: u32 = 1 << 12;
const INITIAL_STATUS: u32 = 1 << 14;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

impl FakeTailscaled {
    pub(super) async fn serve(self, stream: DuplexStream) {
        let service = service_fn(|request| self.answer(request));
        // A client that goes away is no error, and ends its call.
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let target = head.uri.to_string();
        let call = format!("{} {target}", head.method);
        let hung = {
            let mut state = self.state();
            state.calls.push(format!("{call} {}", String::from_utf8_lossy(&body)));
            state.plan.hung.iter().any(|part| target.contains(part))
        };
        if hung {
            return std::future::pending().await;
        }
        let wakes_at = self.state().life.as_ref().map(|life| life.wakes_at);
        if let Some(wakes_at) = wakes_at {
            sleep_until(wakes_at).await;
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        // Pings and the bus do without tailscaled's lock.
        if path != "/localapi/v0/ping" && path != "/localapi/v0/watch-ipn-bus" {
            self.wait_for_lock().await;
        }
        let result = match (head.method.as_str(), path) {
            ("GET", "/localapi/v0/watch-ipn-bus") => return Ok(self.watch(query)),
            ("POST", "/localapi/v0/ping") => Ok(self.ping(query).await),
            ("POST", "/localapi/v0/start") => self.start_control(&body).await,
            ("POST", "/localapi/v0/login-interactive") => self.log_in(),
            ("POST", "/localapi/v0/logout") => self.log_out().await,
            ("POST", "/localapi/v0/disconnect-control") => self.disconnect_control().await,
            ("POST", "/localapi/v0/debug") => self.debug(query),
            ("GET", "/localapi/v0/dns-query") => Ok(self.resolve(query)),
            ("GET", "/localapi/v0/prefs") => Ok("{}".to_owned()),
            ("GET", "/localapi/v0/status") => Ok(self.status(query)),
            ("PATCH", "/localapi/v0/prefs") => self.edit_prefs(&body).await,
            _ => Err(self.violation(format!("there is no such call: {call}"))),
        };
        let (status, body) = match result {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error),
        };
        let body = Full::from(body).map_err(|never| match never {}).boxed_unsync();
        Ok(Response::builder().status(status).body(body).unwrap())
    }

    pub(super) fn violation(&self, text: String) -> String {
        self.state().violations.push(text.clone());
        text
    }

    fn status(&self, query: &str) -> String {
        if query != "peers=false" {
            self.violation("it costs the more, the more peers there are".to_owned());
        }
        let home = self.state().home_at().is_some_and(|at| at <= Instant::now());
        json!({"Self": {"Relay": if home { "test" } else { "" }}}).to_string()
    }

    async fn wait_for_lock(&self) {
        let until = self.state().life.as_ref().and_then(|life| life.locked_until);
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }

    fn watch(&self, query: &str) -> Response<Body> {
        let mask: u32 = query.strip_prefix("mask=").unwrap().parse().unwrap();
        if mask & PEER_CHANGES == 0 {
            self.violation("without this bit, no changes of peers are reported".to_owned());
        }
        let (sender, lines) = mpsc::unbounded_channel();
        let mut state = self.state();
        let State { plan, life, .. } = &mut *state;
        if let Some(life) = life {
            let mut first = json!({"Version": "1.102.5"});
            if mask & INITIAL_STATE != 0 {
                first["State"] = life.state.into();
            }
            if mask & INITIAL_HEALTH != 0 {
                first["Health"] = json!({"Warnings": null});
            }
            if mask & INITIAL_STATUS != 0 {
                first["InitialStatus"] = plan.status(life.joined_at.is_some());
            }
            sender.send(first.to_string()).unwrap();
            life.listeners.push((mask, sender));
        }
        let frames = stream::unfold(lines, |mut lines| async {
            let line: String = lines.recv().await?;
            Some((Ok(Frame::data(Bytes::from(line + "\n"))), lines))
        });
        Response::new(StreamBody::new(frames.boxed()).boxed_unsync())
    }

    /// The DNS message with the addresses of a name, in base64.
    fn resolve(&self, query: &str) -> String {
        let (name, record) = query.strip_prefix("name=").unwrap().split_once("&type=").unwrap();
        let name = percent_decode_str(name).decode_utf8().unwrap();
        let mut reply = Packet::new_reply(1);
        let state = self.state();
        let known = state
            .plan
            .names
            .iter()
            .filter(|(known, _)| record == "A" && *known == name);
        for (known, address) in known {
            let address = RData::A(rdata::A::from(*address));
            let record = ResourceRecord::new(Name::new_unchecked(known), CLASS::IN, 60, address);
            reply.answers.push(record);
        }
        json!({"Bytes": BASE64_STANDARD.encode(reply.build_bytes_vec().unwrap())}).to_string()
    }

    fn debug(&self, query: &str) -> Result<String, String> {
        match query {
            "action=restun" => Ok(String::new()),
            "action=break-derp-conns" => {
                let mut state = self.state();
                state.counts.derp_reconnects += 1;
                state.leave_derp();
                let takes = state.plan.derp_takes;
                if let Some(life) = &mut state.life {
                    life.reconnect(takes);
                }
                Ok(String::new())
            }
            other => Err(self.violation(format!("there is no such action: {other}"))),
        }
    }

    async fn edit_prefs(&self, body: &[u8]) -> Result<String, String> {
        let prefs: Value = serde_json::from_slice(body).unwrap();
        let sleeps_until = {
            let mut state = self.state();
            let Some(life) = &mut state.life else {
                return Err("it has ended".to_owned());
            };
            let until = life.control.and_then(|control| control.backs_off_until);
            life.locked_until = until;
            until
        };
        if let Some(until) = sleeps_until {
            sleep_until(until).await;
        }
        if prefs == json!({"WantRunning": false, "WantRunningSet": true}) {
            self.switch_off();
        } else if prefs == json!({"WantRunning": true, "WantRunningSet": true}) {
            let refusals = self.state().plan.refused_switch_ons;
            if refusals > 0 {
                self.state().plan.refused_switch_ons -= 1;
                return Err("the preferences cannot be saved".to_owned());
            }
            self.switch_on();
        } else if !self.is_exit_node(&prefs) {
            return Err(self.violation(format!("unexpected preferences: {prefs}")));
        }
        Ok("{}".to_owned())
    }

    fn is_exit_node(&self, prefs: &Value) -> bool {
        let known = |id: &str| self.state().plan.peers.iter().any(|peer| peer.stable_id() == id);
        prefs["ExitNodeIDSet"] == true && prefs["ExitNodeID"].as_str().is_some_and(known)
    }

    fn switch_off(&self) {
        let mut state = self.state();
        let stall = state.plan.stalls_when_switched_off;
        state.leave_derp();
        if let Some(life) = &mut state.life {
            life.wakes_at = Instant::now() + stall;
            life.sessions.clear();
            life.lost_handshakes.clear();
            life.stale.clear();
            life.enter(4);
        }
    }

    fn switch_on(&self) {
        let mut state = self.state();
        state.counts.renewals += 1;
        let takes = state.plan.derp_takes;
        let Some(life) = state.life.as_mut().filter(|life| life.joined_at.is_some()) else {
            return;
        };
        life.reconnect(takes);
        life.enter(5);
        life.enter(6);
        // A control client that is attached registers again, with the key that it was made with.
        if life.control.is_some() {
            drop(state);
            self.violation("a control client that is attached sends its key again".to_owned());
        }
    }
}

impl State {
    /// When the home DERP region is chosen.
    pub(super) fn home_at(&self) -> Option<Instant> {
        let joined_at = self.life.as_ref()?.joined_at?;
        Some(joined_at + self.plan.home_after)
    }

    /// The connections to the DERP servers are closed: unless they are dead, the peers are told that this machine is gone.
    fn leave_derp(&mut self) {
        if let Some(life) = self.life.as_mut().filter(|life| !life.links_dead) {
            life.told_gone = true;
        }
    }
}

impl Life {
    fn reconnect(&mut self, takes: Duration) {
        self.links_dead = false;
        self.links_ready = Instant::now() + takes;
    }
}
