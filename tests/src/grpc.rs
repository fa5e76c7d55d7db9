//! gRPC as an operator types it: grpcurl.

use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    process::{ChildStdin, Command},
    time::Duration,
};

use serde_json::Value;

use crate::{
    Process,
    tools::Tool,
    wait::{self, SOON, until},
};

/// A server, and as whom to speak to it.
#[derive(Debug, Clone)]
pub struct Grpc {
    address: SocketAddr,
    token: Option<String>,
}

/// What a refused call says.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Such as `PermissionDenied`.
    pub code: String,
    /// Message and details, as grpcurl prints them.
    pub text: String,
}

impl Grpc {
    /// A caller with this token, or without one.
    pub fn new(address: SocketAddr, token: Option<&str>) -> Self {
        Self { address, token: token.map(str::to_owned) }
    }

    /// Calls a method with a JSON request; the answer's messages in order.
    pub fn call_all(&self, method: &str, request: &Value) -> Result<Vec<Value>, Refusal> {
        let output = self.command(method, request, &["-max-time", "30"]).output().expect("grpcurl runs");
        if !output.status.success() {
            return Err(Refusal::read(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(messages(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Calls a method that gives one answer.
    pub fn call(&self, method: &str, request: &Value) -> Result<Value, Refusal> {
        self.call_all(method, request).map(|answers| answers.into_iter().next().unwrap_or(Value::Null))
    }

    /// Calls a method that must succeed.
    #[track_caller]
    pub fn ok(&self, method: &str, request: Value) -> Value {
        self.call(method, &request).unwrap_or_else(|refusal| panic!("{method} {request}: {}", refusal.text))
    }

    /// Calls a method that must be refused.
    #[track_caller]
    pub fn refused(&self, method: &str, request: Value) -> Refusal {
        match self.call(method, &request) {
            Err(refusal) => refusal,
            Ok(answer) => panic!("{method} {request} was answered: {answer}"),
        }
    }

    /// Lists what the server tells about itself: services, or methods of a service.
    #[track_caller]
    pub fn list(&self, service: Option<&str>) -> Vec<String> {
        let mut command = Tool::Grpcurl.command();
        command
            .args(["-plaintext", "-max-time", "30"])
            .args(self.header())
            .arg(self.address.to_string())
            .arg("list")
            .args(service);
        crate::tools::output(&mut command).lines().map(str::to_owned).collect()
    }

    /// Starts a call that goes on; its answers gather in the process's output.
    pub fn watch(&self, method: &str, request: &Value, dir: &Path, name: &str) -> Watch {
        Watch { process: Process::spawn(name, dir, self.command(method, request, &[])) }
    }

    /// Starts a call in which both sides speak.
    #[track_caller]
    pub fn talk(&self, method: &str, dir: &Path, name: &str) -> Talk {
        let mut command = Tool::Grpcurl.command();
        command.arg("-plaintext").args(self.header()).args(["-d", "@", &self.address.to_string(), method]);
        let (process, input) = Process::spawn_with_input(name, dir, command);
        Talk { process, input: Some(input) }
    }

    fn command(&self, method: &str, request: &Value, options: &[&str]) -> Command {
        let mut command = Tool::Grpcurl.command();
        command.arg("-plaintext").args(options).args(self.header());
        command.args(["-d", &request.to_string(), &self.address.to_string(), method]);
        command
    }

    fn header(&self) -> Vec<String> {
        self.token.iter().flat_map(|token| ["-H".to_owned(), format!("authorization: Bearer {token}")]).collect()
    }
}

/// A call that goes on.
pub struct Watch {
    /// The process.
    pub process: Process,
}

impl Watch {
    /// The messages so far.
    pub fn messages(&self) -> Vec<Value> {
        messages(&self.process.stdout())
    }
}

/// A call in which both sides speak.
pub struct Talk {
    /// The process.
    pub process: Process,
    /// Closed when nothing more is to be said: grpcurl looks at answers only between words.
    input: Option<ChildStdin>,
}

impl Talk {
    /// Says something.
    #[track_caller]
    pub fn say(&mut self, message: &Value) {
        let input = self.input.as_mut().expect("more may be said");
        writeln!(input, "{message}").and_then(|()| input.flush()).expect("the call goes on");
    }

    /// Waits for an answer that has this.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str) -> Value {
        until(&format!("an answer with {what}"), SOON, || self.heard(what))
    }

    /// An answer that has this, if it comes in time.
    pub fn answer(&mut self, what: &str, limit: Duration) -> Option<Value> {
        wait::maybe(limit, || self.heard(what))
    }

    fn heard(&self, what: &str) -> Option<Value> {
        messages(&self.process.stdout()).into_iter().find(|message| !message[what].is_null())
    }

    /// Waits until the other side has refused the call; what it said.
    #[track_caller]
    pub fn wait_refused(&mut self) -> Refusal {
        drop(self.input.take());
        assert!(!self.process.wait(SOON).success(), "it was not refused: {}", self.process.stdout());
        Refusal::read(self.process.stderr())
    }
}

impl Refusal {
    fn read(text: String) -> Self {
        let code = text.lines().find_map(|line| line.trim().strip_prefix("Code: ")).unwrap_or("none").to_owned();
        Self { code, text }
    }
}

/// The JSON values that follow each other in a text; a last one that is not whole is left out.
fn messages(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter().map_while(Result::ok).collect()
}
