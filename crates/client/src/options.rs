//! How a client connects and how long it waits.

use std::{fmt, time::Duration};

use crate::{Error, Result, Trust};

/// Who a client says it is.
#[derive(Clone)]
pub enum Login {
    /// A user, by a password.
    Password {
        /// Their name.
        user: String,
        /// Their password.
        password: String,
    },
    /// Whoever the token stands for.
    Token(String),
}

impl fmt::Debug for Login {
    /// Secrets are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Login::Password { user, .. } => {
                f.debug_struct("Password").field("user", user).finish_non_exhaustive()
            }
            Login::Token(_) => f.write_str("Token"),
        }
    }
}

/// How a client connects and how long it waits.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a call may take, with whatever is tried again. Default 30 s.
    pub time_max: Duration,
    /// How long connecting may take. Default 5 s.
    pub connect_time_max: Duration,
    /// Connections that are open at once; each takes as many requests as there are. Default 8, at least one.
    pub connections_max: usize,
    /// Bytes of an answer. More end the connection. Default 256 MiB.
    pub answer_bytes_max: usize,
    /// Who the client says it is. Default nobody.
    pub login: Option<Login>,
    /// Whom the client trusts to vouch for the node; with it, it speaks TLS. Default none, which is plain.
    pub trust: Option<Trust>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            time_max: Duration::from_secs(30),
            connect_time_max: Duration::from_secs(5),
            connections_max: 8,
            answer_bytes_max: 256 << 20,
            login: None,
            trust: None,
        }
    }
}

impl Options {
    /// The longest that a call may take.
    const TIME_MOST: Duration = Duration::from_hours(24);

    /// Says which of them cannot be so.
    pub(crate) fn validate(&self) -> Result<()> {
        for (name, time) in
            [("time_max", self.time_max), ("connect_time_max", self.connect_time_max)]
        {
            if time.is_zero() || Self::TIME_MOST < time {
                return Err(Error::misused(format!(
                    "`{name}` is more than nothing and at most a day"
                )));
            }
        }
        if self.connections_max == 0 {
            return Err(Error::misused("`connections_max` is at least 1"));
        }
        Ok(())
    }
}

/// The host of an address, for the certificate to name.
pub(crate) fn host_of(address: &str) -> Result<&str> {
    let wrong =
        || Error::misused(format!("`{address}` is no address; it is HOST:PORT, as localhost:9999"));
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        assert_eq!(host_of("localhost:9999").unwrap(), "localhost");
        assert_eq!(host_of("[::1]:9999").unwrap(), "::1");
        for wrong in ["", "localhost", ":9999", "localhost:", "localhost:99999", "localhost:http"] {
            let error = host_of(wrong).unwrap_err().to_string();
            assert!(error.contains("HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let login = Login::Password { user: "ada".to_owned(), password: "secret".to_owned() };
        let options = Options { login: Some(login), ..Options::default() };
        let shown = format!("{options:?} {:?}", Login::Token("secret".to_owned()));
        assert!(shown.contains("ada") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn what_cannot_be_is_named() {
        let none = Options { connections_max: 0, ..Options::default() };
        assert_eq!(none.validate().unwrap_err().to_string(), "`connections_max` is at least 1");
        let endless = Options { time_max: Duration::MAX, ..Options::default() };
        assert!(endless.validate().unwrap_err().to_string().starts_with("`time_max`"));
        Options::default().validate().unwrap();
    }
}
