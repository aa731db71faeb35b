//! Its control client: logins, renewals, log-outs.

use serde_json::{Value, json};
use tokio::time::{sleep, sleep_until};

use super::{ControlClient, FakeTailscaled, KEY, Login, Renewal};

impl FakeTailscaled {
    /// A new control client: with a key for the login, without one for a machine that is known.
    pub(super) async fn start_control(&self, body: &[u8]) -> Result<String, String> {
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

    pub(super) fn log_in(&self) -> Result<String, String> {
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

    pub(super) async fn log_out(&self) -> Result<String, String> {
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

    pub(super) async fn disconnect_control(&self) -> Result<String, String> {
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
}
