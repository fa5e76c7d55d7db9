//! The one-line form of older media servers: `HOST:PORT;HOST:PORT`.

use super::{Addresses, Protocol, RouteMatch, Target, TargetError};
use crate::{Address, AddressError};

/// Reads `"*:*;10.0.0.6:1935"`: requests for the left host go to the right one. The left host is a vhost or `*`, the
/// left port `*`; the right side is a Headwater origin or VIP, or `null`, which refuses the requests. Further origins may
/// follow, with a semicolon before each: they are tried in this order.
pub fn parse(text: &str) -> Result<(RouteMatch, Target), FmsError> {
    let (from, to) = text.split_once(';').ok_or(FmsError::Form)?;
    let (host, port) = from.trim().rsplit_once(':').ok_or(FmsError::Form)?;
    if port != "*" {
        return Err(FmsError::FromPort);
    }
    let vhost = host.parse().map_err(|_| FmsError::FromHost)?;
    Ok((RouteMatch { vhost, ..RouteMatch::any() }, target(to.trim())?))
}

fn target(to: &str) -> Result<Target, FmsError> {
    if to == "null" {
        return Ok(Target::Refuse);
    }
    if to.contains('*') {
        return Err(FmsError::ToStar);
    }
    let addresses: Vec<Address> = to.split(';').map(|address| address.trim().parse()).collect::<Result<_, _>>()?;
    Ok(Target::Addresses { addresses: Addresses::try_from(addresses)?, protocol: Protocol::Headwater })
}

/// Why a text is not an entry in this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FmsError {
    /// Not two sides with a semicolon between them.
    #[error("a route entry is HOST:PORT;HOST:PORT, such as *:*;10.0.0.6:1935")]
    Form,
    /// The left host is no vhost.
    #[error("the host left of the semicolon is not a vhost, a vhost's beginning followed by *, or *")]
    FromHost,
    /// The left port is a number.
    #[error("the port left of the semicolon must be *: a stream's name has no port")]
    FromPort,
    /// The right side has a star.
    #[error("the side right of the semicolon must name one host and one port, or null")]
    ToStar,
    /// The right side is not an address.
    #[error("right of the semicolon: {0}")]
    To(#[from] AddressError),
    /// There are too many.
    #[error("right of the semicolon: {0}")]
    Addresses(#[from] TargetError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classic_form_means_every_stream_to_one_vip() {
        let (matches, target) = parse("*:*;10.0.0.6:1935").unwrap();
        assert_eq!(matches, RouteMatch::any());
        let Target::Addresses { addresses, protocol } = target else { panic!("{target:?}") };
        assert_eq!((addresses[0].to_string().as_str(), protocol), ("10.0.0.6:1935", Protocol::Headwater));
    }

    #[test]
    fn a_left_host_is_a_vhost_and_null_refuses() {
        let (matches, target) = parse("tv.example:*;null").unwrap();
        assert_eq!((matches.vhost.to_string().as_str(), target), ("tv.example", Target::Refuse));
    }

    #[test]
    fn further_origins_stand_after_semicolons() {
        let (_, target) = parse("*:*;a:1;b:2").unwrap();
        let Target::Addresses { addresses, .. } = target else { panic!("{target:?}") };
        assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:1", "b:2"]);
        let many = format!("*:*;{}", ["a:1"; 17].join(";"));
        assert_eq!(parse(&many), Err(FmsError::Addresses(TargetError::TooManyAddresses)));
    }

    #[test]
    fn an_ipv6_vip_stands_in_brackets() {
        assert!(parse("*:*;[fd00::6]:1935").is_ok());
    }

    #[test]
    fn mistakes_are_told_apart() {
        for (text, why) in [
            ("", FmsError::Form),
            ("*:*", FmsError::Form),
            ("*;10.0.0.6:1935", FmsError::Form),
            ("*:*;a:1;", FmsError::To(AddressError::Form)),
            ("*:1935;10.0.0.6:1935", FmsError::FromPort),
            ("a b:*;10.0.0.6:1935", FmsError::FromHost),
            ("*:*;*:1935", FmsError::ToStar),
            ("*:*;10.0.0.6", FmsError::To(AddressError::Form)),
            ("*:*;10.0.0.6:0", FmsError::To(AddressError::Port)),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }
}
