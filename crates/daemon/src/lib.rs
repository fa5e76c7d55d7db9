//! How any of our processes lives: config, signals, admin port, drain.
//!
//! ```text
//! main.rs: daemon::run(PROGRAM, serve)
//!    command line ─▶ config::load ─▶ telemetry ─▶ admin port ─▶ serve(config, process) ─▶ exit code
//!    SIGTERM, SIGINT ─▶ Shutdown (drain within a deadline; the second signal ends it)    SIGHUP ─▶ Reloads
//! ```
//!
//! A service describes its settings with [`section!`], implements [`config::Config`], shows itself through
//! [`admin::Inspect`] and ends when [`Shutdown`] says so. YAML is read here and nowhere else.
//!
//! ```no_run
//! daemon::section! {
//!     /// A server of nothing.
//!     pub struct Config {
//!         /// The node's name.
//!         pub node: String = "nothing-1".to_owned(),
//!         /// Where it listens.
//!         pub listen: std::net::SocketAddr = ([127, 0, 0, 1], 7).into(),
//!         /// Its process.
//!         pub process: daemon::Settings = daemon::Settings::with_admin_port(9007),
//!     }
//! }
//!
//! impl daemon::config::Config for Config {
//!     const RELOADABLE: &'static [&'static str] = &[];
//!     fn process(&self) -> &daemon::Settings {
//!         &self.process
//!     }
//!     fn node(&self) -> &str {
//!         &self.node
//!     }
//! }
//!
//! async fn serve(config: Config, process: daemon::Process<Config>) -> anyhow::Result<()> {
//!     let listener = daemon::bind("nothing", "listen", config.listen)?;
//!     tracing::info!(address = %listener.local_addr()?, "nothing.listening");
//!     process.shutdown.begun().await;
//!     Ok(())
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let version = env!("CARGO_PKG_VERSION");
//!     daemon::run(daemon::Program { name: "nothing", about: "Serves nothing", version }, serve)
//! }
//! ```

pub mod admin;
mod admission;
mod bind;
pub mod config;
mod limits;
mod parent;
mod publish;
mod reload;
mod run;
mod settings;
mod shutdown;
mod signals;
mod tasks;
mod threads;

pub use admission::Admission;
pub use bind::{BindError, bind};
pub use limits::raise_open_files;
pub use parent::{ParentError, die_with};
pub use publish::{KeysFileError, PublishKeys};
pub use reload::Reloads;
pub use run::{Args, Process, Program, explain, install_crypto, run};
pub use settings::Settings;
pub use shutdown::Shutdown;
pub use tasks::{TaskEnded, Tasks};
pub use threads::Threads;
