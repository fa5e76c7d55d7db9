//! Compiles `/proto` without protoc: Rust types, the descriptors that reflection serves, and the table of who may call what.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use prost_reflect::{DescriptorPool, ExtensionDescriptor, MethodDescriptor};

/// The method option that names the callers.
const ALLOW: &str = "headwater.authz.v1.allow";

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = Vec::new();
    find_protos(&root, &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true).open_files(&files)?;
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    fs::write(out.join("methods.rs"), method_table(&compiler.descriptor_pool())?)?;

    tonic_prost_build::configure()
        .bytes(".")
        .include_file("packages.rs")
        .emit_rerun_if_changed(false)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Adds every `.proto` file below `dir`, and tells Cargo to watch each directory and file.
fn find_protos(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", dir.display());
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    Ok(())
}

/// A Rust slice of `Method`s in the order of their paths, so that it can be searched by halves.
fn method_table(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let allow = pool.get_extension_by_name(ALLOW).ok_or("no method option headwater.authz.v1.allow")?;
    let mut rows = Vec::new();
    for service in pool.services() {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            rows.push((path, callers(&method, &allow)?));
        }
    }
    rows.sort();
    let mut table = String::from("&[\n");
    for (path, callers) in rows {
        writeln!(table, "    Method {{ path: {path:?}, callers: &[{}] }},", callers.join(", "))?;
    }
    table.push(']');
    Ok(table)
}

/// The paths of the `Caller` variants that the method's option names.
fn callers(method: &MethodDescriptor, allow: &ExtensionDescriptor) -> Result<Vec<String>, Box<dyn Error>> {
    let options = method.options();
    let value = options.get_extension(allow);
    let numbers = value.as_list().ok_or("the option allow is not repeated")?;
    let kind = allow.kind();
    let callers = kind.as_enum().ok_or("the option allow is not an enum")?;
    let mut names = Vec::new();
    for number in numbers {
        let number = number.as_enum_number().ok_or("the option allow is not an enum")?;
        let value = callers.get_value(number).ok_or_else(|| format!("{}: unknown caller", method.full_name()))?;
        names.push(format!("Caller::{}", variant(value.name().trim_start_matches("CALLER_"))));
    }
    Ok(names)
}

/// `VIEWER_OPS` as the generated enum spells it: `ViewerOps`.
fn variant(name: &str) -> String {
    let capital = |word: &str| word[..1].to_owned() + &word[1..].to_lowercase();
    name.split('_').map(capital).collect()
}
