use super::*;
use crate::Settings;

crate::section! {
    /// What an encoder does.
    #[derive(PartialEq)]
    pub struct Rtmp {
        /// Where encoders connect.
        pub listen: std::net::SocketAddr = ([127, 0, 0, 1], 1935).into(),
        /// How long an encoder may be away.
        /// Viewers stay meanwhile.
        pub grace: Period = Period::from_secs(15),
        /// The most that is kept.
        pub ring: Size = Size::from_mib(32),
    }
}

crate::section! {
    /// One route.
    #[derive(PartialEq)]
    pub struct Route {
        /// What it is for.
        pub to: String = String::new(),
        /// The more specific wins.
        pub weight: u32 = 1,
    }
}

crate::section! {
    /// Everything that a sample needs.
    #[derive(PartialEq)]
    pub struct Sample {
        /// The node's name.
        pub node: String = "sample-1".to_owned(),
        /// RTMP in and out.
        pub rtmp: Rtmp = Rtmp::default(),
        /// Where requests go.
        pub routes: Vec<Route> = Vec::new(),
        /// Only when a key is needed.
        pub key: Secret = Secret::default(),
        /// Another one, for backups.
        pub backup: Option<Rtmp> = None,
        /// The process.
        pub process: Settings = Settings::with_admin_port(9099),
    }
}

impl Config for Sample {
    const RELOADABLE: &'static [&'static str] = &["rtmp", "routes"];

    fn process(&self) -> &Settings {
        &self.process
    }

    fn node(&self) -> &str {
        &self.node
    }

    fn validate(&self, problems: &mut Problems) {
        for (at, route) in self.routes.iter().enumerate() {
            if route.to.is_empty() {
                problems.add(&format!("routes[{at}].to"), "must not be empty");
            }
        }
    }
}

const NO_ENVIRONMENT: [(String, String); 0] = [];

fn problems(text: &str, environment: &[(&str, &str)]) -> Vec<Problem> {
    let environment: Vec<_> = environment.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    parse::<Sample>(text, environment).expect_err("there is something wrong")
}

#[test]
fn file_without_keys_is_the_defaults() {
    for text in ["", "# nothing\n", "rtmp:\nroutes:\nprocess:\n"] {
        assert_eq!(parse::<Sample>(text, NO_ENVIRONMENT).expect(text), Sample::default());
    }
}

#[test]
fn section_written_in_part_keeps_the_other_defaults_of_its_place() {
    let config: Sample = parse("process:\n  log: debug\n", NO_ENVIRONMENT).expect("valid");
    assert_eq!((config.process.log.as_str(), config.process.admin.port()), ("debug", 9099));
}

#[test]
fn all_mistakes_are_found_at_once_with_their_lines_and_advice() {
    let text = "\
nod: x
rtmp:
  lisen: 127.0.0.1:1
  listen: 1935
  grace: soon
routes:
  - to: a
    weight: many
  - weigth: 2
process:
  drain: 10
listen: 127.0.0.1:2
";
    let found = problems(text, &[]);
    let at: Vec<_> = found.iter().map(|problem| (problem.line.unwrap_or(0), problem.path.as_str())).collect();
    assert_eq!(
        at,
        [
            (1, "nod"),
            (3, "rtmp.lisen"),
            (4, "rtmp.listen"),
            (5, "rtmp.grace"),
            (8, "routes[0].weight"),
            (9, "routes[1].weigth"),
            (11, "process.drain"),
            (12, "listen"),
        ],
        "{found:#?}"
    );
    let help: Vec<_> = found.iter().map(|problem| problem.help.as_deref().unwrap_or_default()).collect();
    assert_eq!(help[0], "did you mean `node`?");
    assert_eq!(help[1], "did you mean `listen`?");
    assert!(help[2].starts_with("write ADDRESS:PORT") || found[2].message.contains("string"), "{:?}", found[2]);
    assert!(found[3].message.contains("1m30s"), "{}", found[3].message);
    assert_eq!(help[7], "did you mean `listen` inside `rtmp`?");
}

#[test]
fn error_names_file_line_key_and_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("edge.yaml");
    fs::write(&file, "rtmp:\n  lisen: 127.0.0.1:1\n").expect("written");
    let error = load_with::<Sample>(Some(&file), NO_ENVIRONMENT).expect_err("an unknown key").to_string();
    let expected = format!("{}:2: rtmp.lisen: unknown key\n    did you mean `listen`?\n", file.display());
    assert!(error.starts_with(&expected) && error.contains("1 problem in"), "{error}");
    let error = load_with::<Sample>(Some(&dir.path().join("no.yaml")), NO_ENVIRONMENT).expect_err("no file");
    assert!(error.to_string().contains("--config"), "{error}");
}

#[test]
fn text_that_is_no_yaml_says_where() {
    let found = problems("node: a\n  rtmp: [\n", &[]);
    assert_eq!(found.len(), 1);
    assert!(found[0].line.is_some(), "{found:?}");
    let found = problems("node: a\nnode: b\n", &[]);
    assert!(found[0].message.contains("duplicate") && found[0].help.is_some(), "{found:?}");
    let found = problems("- a\n- b\n", &[]);
    assert!(found[0].message.contains("keys and values"), "{found:?}");
}

#[test]
fn rules_of_the_service_are_checked_and_located() {
    let found = problems("routes:\n  - to: a\n  - weight: 3\n", &[]);
    assert_eq!((found[0].line, found[0].path.as_str()), (Some(3), "routes[1].to"));
    let found = problems("process:\n  log: loud\n  otlp_endpoint: collector:4317\n", &[]);
    assert_eq!(found.iter().map(|problem| problem.line).collect::<Vec<_>>(), [Some(2), Some(3)]);
}

#[test]
fn environment_overrides_the_file() {
    let environment = [
        ("HEADWATER_NODE", "edge-7"),
        ("HEADWATER_RTMP__LISTEN", "[::1]:1936"),
        ("HEADWATER_RTMP__GRACE", "1s"),
        ("HEADWATER_ROUTES", "[{to: a, weight: 4}]"),
        ("HEADWATER_BACKUP__RING", "1MiB"),
        ("HEADWATER_ORIGIN_SERVICE_HOST", "10.0.0.1"),
        ("PATH", "/bin"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()));
    let config: Sample = parse("node: edge-1\nrtmp:\n  grace: 20s\n", environment).expect("valid");
    assert_eq!(config.node, "edge-7");
    assert_eq!(config.rtmp.listen.port(), 1936);
    assert_eq!(config.rtmp.grace, Period::from_secs(1));
    assert_eq!(config.routes, [Route { to: "a".into(), weight: 4 }]);
    assert_eq!(config.backup.map(|backup| backup.ring), Some(Size::from_mib(1)));
}

#[test]
fn mistake_in_the_environment_names_the_variable() {
    let found = problems("", &[("HEADWATER_RTMP__LISEN", "x"), ("HEADWATER_RTMP__GRACE", "soon")]);
    let found: Vec<_> = found.iter().map(|p| (p.variable.as_deref().unwrap_or_default(), p.help.clone())).collect();
    assert!(found.contains(&("HEADWATER_RTMP__LISEN", Some("did you mean `listen`?".into()))), "{found:?}");
    assert!(found.iter().any(|(variable, _)| *variable == "HEADWATER_RTMP__GRACE"), "{found:?}");
}

#[test]
fn number_given_for_a_text_by_the_environment_is_a_text() {
    let environment = [("HEADWATER_NODE".to_owned(), "7".to_owned())];
    assert_eq!(parse::<Sample>("", environment).expect("valid").node, "7");
}

#[test]
fn default_document_documents_every_key_and_is_the_default() {
    let document = default_document::<Sample>();
    assert_eq!(parse::<Sample>(&document, NO_ENVIRONMENT).expect("the defaults are valid"), Sample::default());
    for text in [
        "# Everything that a sample needs.",
        "# RTMP in and out.\nrtmp:\n  # Where encoders connect.\n  listen: 127.0.0.1:1935\n",
        "  # How long an encoder may be away.\n  # Viewers stay meanwhile.\n  grace: 15s\n",
        "#   weight: The more specific wins.\nroutes: []\n",
        "  drain: 10s\n",
    ] {
        assert!(document.contains(text), "{text:?} is missing in\n{document}");
    }
}

#[test]
fn secrets_are_masked_in_the_effective_configuration() {
    let config: Sample = parse("key: hunter2\n", NO_ENVIRONMENT).expect("valid");
    let shown = effective(&config);
    assert!(!shown.contains("hunter2") && shown.contains("secret:"), "{shown}");
    assert_eq!(config.key.expose(), "hunter2");
}
