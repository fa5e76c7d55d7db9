//! Configuration files: those of the three services, and one with each kind of setting. What is in force can be written, and is the same
//! when it is read again.
#![no_main]

use daemon::{
    Settings,
    config::{Config, Period, Secret, Size, effective, parse},
};
use libfuzzer_sys::fuzz_target;

daemon::section! {
    /// A part.
    pub struct Part {
        /// An address.
        pub listen: std::net::SocketAddr = ([127, 0, 0, 1], 1935).into(),
        /// A time.
        pub grace: Period = Period::from_secs(15),
        /// A size.
        pub ring: Size = Size::from_mib(32),
    }
}

daemon::section! {
    /// One of each kind of setting.
    pub struct Sample {
        /// A text.
        pub node: String = "sample-1".to_owned(),
        /// A part.
        pub rtmp: Part = Part::default(),
        /// A list.
        pub parts: Vec<Part> = Vec::new(),
        /// A secret.
        pub key: Secret = Secret::default(),
        /// A part that may be left out.
        pub backup: Option<Part> = None,
        /// The process.
        pub process: Settings = Settings::with_admin_port(9099),
    }
}

impl Config for Sample {
    const RELOADABLE: &'static [&'static str] = &["rtmp"];

    fn process(&self) -> &Settings {
        &self.process
    }

    fn node(&self) -> &str {
        &self.node
    }
}

fuzz_target!(|text: &str| {
    let (text, value) = text.split_once('\0').unwrap_or((text, "1s"));
    let environment = [("HEADWATER_RTMP__GRACE".to_owned(), value.to_owned())];
    if let Err(problems) = parse::<Sample>(text, environment) {
        assert!(!problems.is_empty(), "a refusal has a reason");
    }
    service::<edge::Config>(text, value);
    service::<origin::Config>(text, value);
    service::<control_plane::Config>(text, value);
});

fn service<C: Config + PartialEq>(text: &str, value: &str) {
    let environment = [("HEADWATER_PROCESS__LOG".to_owned(), value.to_owned())];
    match parse::<C>(text, environment) {
        Ok(config) => assert!(parse::<C>(&effective(&config), []).is_ok_and(|again| again == config)),
        Err(problems) => assert!(!problems.is_empty(), "a refusal has a reason"),
    }
}
