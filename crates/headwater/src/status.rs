//! What the nodes of a cluster say about themselves, as text.

use std::{fmt::Write as _, net::SocketAddr, process::ExitCode};

use futures_util::future::join_all;
use serde_json::{Map, Value};

use crate::{
    dev::Place,
    http, output,
    table::{plain, write_rows},
    target::Cluster,
};

/// `headwater status`
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Admin ports to ask instead of those of the cluster in DIR.
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Vec<SocketAddr>,
    /// Print JSON: an object of the nodes' /status.json.
    #[arg(long)]
    json: bool,
}

/// Asks all nodes at once. Exit code 1 when one does not answer.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let nodes: Vec<(String, SocketAddr)> = match args.admin.is_empty() {
        true => Cluster::read(&args.place.dir)?.nodes.into_iter().map(|(name, node)| (name, node.admin)).collect(),
        false => args.admin.iter().map(|admin| (admin.to_string(), *admin)).collect(),
    };
    let pages = join_all(nodes.iter().map(|(_, admin)| ask(*admin))).await;
    let all = pages.iter().all(Result::is_ok);
    let mut text = String::new();
    let mut object = Map::new();
    for ((name, admin), page) in nodes.iter().zip(pages) {
        match page {
            Ok(page) => {
                write_page(&mut text, name, &page);
                object.insert(name.clone(), page);
            }
            Err(error) => {
                let _ = writeln!(text, "== {name}\nno answer from {admin}: {error}\n");
                object.insert(name.clone(), Value::Null);
            }
        }
    }
    match args.json {
        true => output::print(&format!("{}\n", serde_json::to_string_pretty(&object)?))?,
        false => output::print(&text)?,
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ask(admin: SocketAddr) -> anyhow::Result<Value> {
    let answer = http::get(admin, "/status.json").await?;
    anyhow::ensure!(answer.status == 200, "status {}", answer.status);
    Ok(serde_json::from_str(&answer.body)?)
}

/// Facts as `name value`, tables with their columns aligned.
fn write_page(text: &mut String, name: &str, page: &Value) {
    let _ = writeln!(text, "== {name}");
    for (title, section) in page.as_object().into_iter().flatten() {
        match section {
            Value::Object(facts) => {
                let _ = writeln!(text, "{}", title.replace('_', " "));
                let width = facts.keys().map(|key| key.chars().count()).max().unwrap_or(0);
                for (key, value) in facts {
                    let _ = writeln!(text, "  {key:<width$}  {}", plain(value));
                }
            }
            Value::Array(rows) => {
                let _ = writeln!(text, "{}: {}", title.replace('_', " "), rows.len());
                write_rows(text, rows);
            }
            _ => {}
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_shown_as_aligned_text_without_control_characters() {
        let page = serde_json::json!({
            "title": "edge-1",
            "node": {"epoch": 7, "role": null},
            "streams": [{"stream": "live/a", "viewers": 12}, {"stream": "live/\u{1b}[2J", "viewers": 3}],
        });
        let mut text = String::new();
        write_page(&mut text, "edge-1", &page);
        assert_eq!(
            text,
            "== edge-1\nnode\n  epoch  7\n  role   -\nstreams: 2\n  stream     viewers\n  live/a     12\n  live/\u{fffd}[2J  3\n\n"
        );
    }
}
