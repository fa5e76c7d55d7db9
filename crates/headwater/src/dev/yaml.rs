//! The configuration of each process. Everything else is at its default: `--print-default-config` shows it.

use std::{net::SocketAddr, path::Path};

use super::plan::{Kind, Node, Plan};

/// How long sessions may take to end when the cluster ends.
const DRAIN: &str = "2s";

/// The YAML of one process.
pub(super) fn of(dir: &Path, plan: &Plan, node: &Node) -> String {
    let Node { name, grpc, admin, .. } = node;
    let (tokens, data) = (quoted(&dir.join("tokens")), quoted(&dir.join(name)));
    let own = match node.kind {
        Kind::ControlPlane => {
            let first: Vec<_> = plan.of(Kind::Origin).map(|origin| origin.name).take(1).collect();
            format!("listen: {grpc}\npools:\n  - name: main\n    first_active: {}\n", first.concat())
        }
        Kind::Origin => {
            let public = one(node.rtmp);
            let control = control_planes(plan);
            format!("public:\n  listen: {public}\npeer:\n  listen: {grpc}\ncontrol_plane: [{control}]\n")
        }
        Kind::Edge => {
            let (rtmp, http) = (one(node.rtmp), one(node.http));
            let control = control_planes(plan);
            // In place of a VIP: the public ports of all origins, of which the active one's is open.
            let origins: Vec<_> = plan.of(Kind::Origin).map(|origin| one(origin.rtmp)).collect();
            let origins = origins.join(";");
            format!(
                "rtmp:\n  listen: [\"{rtmp}\"]\nhttp:\n  listen: [\"{http}\"]\npeer:\n  listen: {grpc}\n\
                 control_plane: [{control}]\nroutes:\n  - \"*:*;{origins}\"\n"
            )
        }
    };
    format!(
        "# {name}: written by `headwater dev` at each start; `headwater dev restart {name}` reads it as it is.\n\
         node: {name}\n{own}tokens: {tokens}\ndata_dir: {data}\n\
         process:\n  admin: {admin}\n  log_format: json\n  drain: {DRAIN}\n"
    )
}

fn control_planes(plan: &Plan) -> String {
    let addresses: Vec<_> = plan.of(Kind::ControlPlane).map(|node| format!("\"{}\"", node.grpc)).collect();
    addresses.join(", ")
}

fn one(address: Option<SocketAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

/// A path as a double-quoted YAML text, whose escapes are those of JSON.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

#[cfg(test)]
mod tests {
    use super::{super::plan::FIXED, *};

    #[test]
    fn edge_knows_both_origins_and_its_own_ports() {
        let plan = Plan::new(FIXED);
        let text = of(Path::new("/tmp/a \"b\""), &plan, plan.node("edge-2").expect("in the plan"));
        for line in [
            "node: edge-2",
            "  listen: [\"127.0.0.1:1936\"]",
            "  listen: [\"127.0.0.1:8081\"]",
            "  - \"*:*;127.0.0.1:1945;127.0.0.1:1946\"",
            "control_plane: [\"127.0.0.1:9000\"]",
            "tokens: \"/tmp/a \\\"b\\\"/tokens\"",
            "  admin: 127.0.0.1:9092",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
    }
}
