//! Which local ports lead where.

use std::{collections::HashSet, net::IpAddr};

use lambda_env::{SettingError, Variables};

use crate::doors::target::Target;

const NAME: &str = "TS_FORWARDS";
const EXPECTED: &str = "local ports and targets, separated by commas: 5432=db.example.ts.net:5432,6379=100.64.0.7:6379, no local port twice";
/// Ports that are taken: Lambda's Runtime API, and the X-Ray daemon's.
const LAMBDAS_PORTS: [u16; 2] = [9001, 2000];
/// The most ports that there may be.
const MAX_FORWARDS: usize = 32;

/// One local port and its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The port on 127.0.0.1. 0 lets the system choose one, which only tests do.
    pub local_port: u16,
    /// Where it leads.
    pub target: Target,
}

/// Reads the forwards, whose local ports must not be among `own_ports`.
pub fn read(
    variables: &Variables<impl Fn(&str) -> Option<String>>,
    own_ports: &[u16],
) -> Result<Vec<Forward>, SettingError> {
    let Some(list) = variables.text(NAME) else {
        return Ok(Vec::new());
    };
    let forwards: Option<Vec<Forward>> = list.split(',').map(|entry| parse(entry.trim())).collect();
    let forwards = forwards.ok_or_else(|| SettingError::invalid(NAME, list.clone(), EXPECTED))?;
    let unusable = |reason| SettingError::Unusable {
        name: NAME,
        reason,
        expected: EXPECTED,
    };
    if forwards.len() > MAX_FORWARDS {
        let reason = format!(
            "it has {} entries, and at most {MAX_FORWARDS} are allowed",
            forwards.len()
        );
        return Err(unusable(reason));
    }
    let mut taken = HashSet::new();
    for Forward { local_port, .. } in &forwards {
        if own_ports.contains(local_port) {
            return Err(unusable(format!("local port {local_port} is the extension's own")));
        }
        if LAMBDAS_PORTS.contains(local_port) {
            return Err(unusable(format!("local port {local_port} is Lambda's own")));
        }
        if !taken.insert(*local_port) {
            return Err(unusable(format!("local port {local_port} is named twice")));
        }
    }
    Ok(forwards)
}

fn parse(entry: &str) -> Option<Forward> {
    let (local_port, target) = entry.split_once('=')?;
    let (host, port) = target.trim().rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed
            .strip_suffix(']')
            .filter(|host| host.parse::<IpAddr>().is_ok())?,
        None => host,
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_host = host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.len() <= 253 && host.bytes().all(legal));
    let number = |text: &str| text.trim().parse().ok().filter(|port: &u16| *port > 0);
    is_host.then_some(Forward {
        local_port: number(local_port)?,
        target: Target {
            host: host.to_owned(),
            port: number(port)?,
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(list: &str) -> Result<Vec<String>, String> {
        let variables = Variables::new(|name| (name == NAME).then(|| list.to_owned()));
        let shown = |forward: &Forward| format!("{} {}", forward.local_port, forward.target);
        match read(&variables, &[1055, 1056]) {
            Ok(forwards) => Ok(forwards.iter().map(shown).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn ports_lead_to_names_and_addresses() {
        let list = "5432=db.example.ts.net:5432, 6379=100.64.0.7:6380,3306=[fd7a::1]:3306";
        let expected = [
            "5432 db.example.ts.net:5432",
            "6379 100.64.0.7:6380",
            "3306 [fd7a::1]:3306",
        ];
        assert_eq!(parsed(list).unwrap(), expected);
        assert_eq!(parsed("").unwrap(), [] as [&str; 0]);
    }

    #[test]
    fn what_cannot_be_used_is_named_with_what_it_must_be() {
        for (list, named) in [
            ("5432", "5432"),
            ("5432=db", "5432=db"),
            ("0=db:1", "0=db:1"),
            ("5432=db:0", "5432=db:0"),
            ("5432=db:65536", "5432=db:65536"),
            ("5432=:1", "5432=:1"),
            ("5432=fd7a:1:5432:x y:1", "x y"),
            ("5432=[db]:1", "[db]"),
            ("5432=a:1,5432=b:1", "local port 5432 is named twice"),
            ("1055=db:1", "local port 1055 is the extension's own"),
            ("9001=db:1", "local port 9001 is Lambda's own"),
        ] {
            let message = parsed(list).unwrap_err();
            assert!(
                message.starts_with(NAME) && message.contains(named) && message.contains("must be"),
                "{message}"
            );
        }
        let many: Vec<String> = (1..=33).map(|port| format!("{port}=db:1")).collect();
        assert!(parsed(&many.join(",")).unwrap_err().contains("at most 32"));
    }
}
