//! What its LocalAPI answers.

use std::{net::IpAddr, time::Duration};

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
use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::{ControlClient, FakeTailscaled, KEY, Life, Login, Pings, Renewal, State};

/// The bits of a watcher's mask (ipn.NotifyWatchOpt).
const INITIAL_STATE: u32 = 1 << 1;
const INITIAL_HEALTH: u32 = 1 << 7;
const PEER_CHANGES: u32 = 1 << 12;
const INITIAL_STATUS: u32 = 1 << 14;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// A ping that waits for its answer; dropped with the call.
struct InFlight {
    tailscaled: FakeTailscaled,
    address: IpAddr,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.tailscaled.state().in_flight.get_mut(&self.address).unwrap() -= 1;
    }
}

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
            ("GET", "/localapi/v0/prefs") => Ok("{}".to_owned()),
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

    fn violation(&self, text: String) -> String {
        self.state().violations.push(text.clone());
        text
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
            let mut first = json!({"Version": "1.102.4"});
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
            life.listeners.push(sender);
        }
        let frames = stream::unfold(lines, |mut lines| async {
            let line: String = lines.recv().await?;
            Some((Ok(Frame::data(Bytes::from(line + "\n"))), lines))
        });
        Response::new(StreamBody::new(frames.boxed()).boxed_unsync())
    }

    async fn ping(&self, query: &str) -> String {
        let (address, kind) = query.strip_prefix("ip=").unwrap().split_once("&type=").unwrap();
        let address: IpAddr = address.parse().unwrap();
        let _in_flight = self.count_in_flight(address);
        let tsmp = kind == "TSMP";
        let answers_at = match self.route_ping(address, tsmp) {
            Ok(Some(answers_at)) => answers_at,
            Ok(None) => return std::future::pending().await,
            Err(error) => return json!({"Err": error}).to_string(),
        };
        sleep_until(answers_at).await;
        let lost = match &mut self.state().life {
            Some(life) => {
                let lost = life.links_dead || life.state != 6;
                if tsmp && !lost {
                    life.sessions.insert(address);
                }
                lost
            }
            None => true,
        };
        if lost {
            return std::future::pending().await;
        }
        json!({"IP": address, "Err": "", "LatencySeconds": 0.01}).to_string()
    }

    fn count_in_flight(&self, address: IpAddr) -> InFlight {
        let mut state = self.state();
        let in_flight = state.in_flight.entry(address).or_default();
        *in_flight += 1;
        state.max_in_flight = state.max_in_flight.max(state.in_flight[&address]);
        InFlight {
            tailscaled: self.clone(),
            address,
        }
    }

    /// When a ping is answered, `None` if never, or tailscaled's own error.
    fn route_ping(&self, address: IpAddr, tsmp: bool) -> Result<Option<Instant>, &'static str> {
        let state = self.state();
        let Some(life) = &state.life else { return Ok(None) };
        let peer = state.plan.peers.iter().find(|peer| peer.address == address);
        // It has peers from `Starting` on, and none while it is switched off.
        let (Some(peer), Some(joined_at), 5 | 6) = (peer, life.joined_at, life.state) else {
            return Err("no matching peer");
        };
        let now = Instant::now();
        match if tsmp { peer.tsmp } else { peer.disco } {
            Pings::Fail(error) => return Err(error),
            Pings::Ignored => return Ok(None),
            Pings::Answered if life.links_dead || now < joined_at + peer.hears_after => return Ok(None),
            Pings::Answered if tsmp && life.stale.contains(&address) => return Ok(None),
            Pings::Answered => {}
        }
        // A session that has to begin takes a round trip more.
        let round_trips = if tsmp && !life.sessions.contains(&address) {
            2
        } else {
            1
        };
        Ok(Some(now.max(life.links_ready) + peer.round_trip * round_trips))
    }

    /// A new control client: with a key for the login, without one for a machine that is known.
    async fn start_control(&self, body: &[u8]) -> Result<String, String> {
        let options: Value = serde_json::from_slice(body).unwrap();
        self.disconnect().await;
        let login = options != json!({});
        if login && (options["AuthKey"] != KEY || options["UpdatePrefs"]["WantRunning"] != true) {
            return Err(self.violation(format!("a login needs the key and the preferences: {options}")));
        }
        let mut state = self.state();
        let dead = state.plan.control_unreachable;
        let renewal = state.plan.renewal;
        let netmap = state.plan.netmap_change();
        let Some(life) = &mut state.life else {
            return Err("it has ended".to_owned());
        };
        life.control = Some(ControlClient {
            dead,
            backs_off_until: None,
        });
        if login {
            life.has_key = true;
            return Ok(String::new());
        }
        if life.joined_at.is_none() || life.state == 4 {
            return Ok(String::new());
        }
        // The state is computed anew; the netmap and the connections stay.
        [0, 5, 6].into_iter().for_each(|state| life.enter(state));
        if !dead {
            match renewal {
                Renewal::Accepted => life.notify(&netmap),
                Renewal::Refused(reason) => life.notify(&json!({"ErrMessage": reason}).to_string()),
                Renewal::Unknown => life.notify(r#"{"BrowseToURL":"http://control/a"}"#),
                Renewal::Silent => {}
            }
            state.counts.registrations += 1;
        }
        Ok(String::new())
    }

    fn log_in(&self) -> Result<String, String> {
        let (login, takes) = {
            let mut state = self.state();
            if !state.life.as_ref().is_some_and(|life| life.has_key) {
                drop(state);
                return Err(self.violation("a login without a key".to_owned()));
            }
            state.counts.logins += 1;
            (state.plan.login, state.plan.login_takes)
        };
        match login {
            Login::Accepted if takes.is_zero() => self.join(),
            Login::Accepted => {
                let tailscaled = self.clone();
                tokio::spawn(async move {
                    sleep(takes).await;
                    tailscaled.join();
                });
            }
            Login::Notifies(line) => self.notify(line),
            Login::Silent => {}
        }
        Ok(String::new())
    }

    async fn log_out(&self) -> Result<String, String> {
        let control = self.state().life.as_ref().and_then(|life| life.control);
        match control {
            None => Err("no controlclient".to_owned()),
            Some(ControlClient { dead: true, .. }) => std::future::pending().await,
            Some(_) => {
                self.state().counts.log_outs += 1;
                Ok(String::new())
            }
        }
    }

    async fn disconnect_control(&self) -> Result<String, String> {
        self.state().counts.disconnects += 1;
        self.disconnect().await;
        Ok(String::new())
    }

    /// Detaches the control client at once, and waits for its end.
    async fn disconnect(&self) {
        let control = self.state().life.as_mut().and_then(|life| life.control.take());
        if let Some(until) = control.and_then(|control| control.backs_off_until) {
            sleep_until(until).await;
        }
    }

    fn debug(&self, query: &str) -> Result<String, String> {
        match query {
            "action=restun" => Ok(String::new()),
            "action=break-derp-conns" => {
                let mut state = self.state();
                state.counts.derp_reconnects += 1;
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
        if let Some(life) = &mut self.state().life {
            life.sessions.clear();
            life.stale.clear();
            life.enter(4);
        }
    }

    fn switch_on(&self) {
        let mut state = self.state();
        state.counts.renewals += 1;
        let takes = state.plan.derp_takes;
        let Some(life) = &mut state.life else { return };
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

impl Life {
    fn reconnect(&mut self, takes: Duration) {
        self.links_dead = false;
        self.links_ready = Instant::now() + takes;
    }
}
