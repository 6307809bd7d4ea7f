//! Dependencies between the crates point down only.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Finding;
use crate::checkout::{cargo, output};

/// From the lowest layer up: a crate may depend on those before it.
const LAYERS: [&str; 9] = [
    "strongroom-format",
    "strongroom-chunker",
    "strongroom-store",
    "strongroom-keys",
    "strongroom-repository",
    "strongroom-engines",
    "strongroom-ops",
    "strongroom-web",
    "strongroom",
];

/// Packages of the workspace that are not shipped; nothing that is may depend on them.
const TOOLS: [&str; 6] = [
    "strongroom-model",
    "strongroom-race",
    "strongroom-stages",
    "strongroom-tests",
    "strongroom-vectors",
    "xtask",
];

/// As `cargo metadata` describes it.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// Only dependencies inside the workspace have one.
    path: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// The packages of this workspace, by cargo's own reading of their manifests.
pub(super) fn packages() -> Result<Vec<Package>> {
    let said = output(cargo()?.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata =
        serde_json::from_slice(&said.stdout).context("cargo metadata is not as expected")?;
    Ok(metadata.packages)
}

/// Normal, build and development dependencies alike: a test that reaches upwards ties the layers together too.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages.iter().filter(|package| !TOOLS.contains(&package.name.as_str())) {
        let Some(layer) = layer(&package.name) else {
            findings.push(Finding::Broken(format!("the package {} is on no layer", package.name)));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            let (above, below) = (&package.name, &dependency.name);
            // A package may name itself for its own tests.
            let points_down = self::layer(below).is_some_and(|lower| lower < layer) || above == below;
            if !points_down {
                findings.push(Finding::Broken(format!("{above} depends on {below}, which is not below it")));
            }
        }
    }
    findings
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(metadata: &str) -> Vec<Finding> {
        let metadata: Metadata = serde_json::from_str(metadata).unwrap();
        check(&metadata.packages)
    }

    #[test]
    fn downwards_is_fine() {
        let metadata = r#"{"packages": [
            {"name": "strongroom-keys", "dependencies": [
                {"name": "strongroom-format", "path": "/x"}, {"name": "blake3"}]},
            {"name": "xtask", "dependencies": [{"name": "strongroom-tests", "path": "/x"}]}]}"#;
        assert_eq!(found(metadata), []);
    }

    #[test]
    fn upwards_is_found() {
        let metadata = r#"{"packages": [
            {"name": "strongroom-store", "dependencies": [{"name": "strongroom-keys", "path": "/x"}]}]}"#;
        let what = "strongroom-store depends on strongroom-keys, which is not below it";
        assert_eq!(found(metadata), [Finding::Broken(what.into())]);
    }

    #[test]
    fn a_shipped_crate_does_not_depend_on_tools() {
        let metadata = r#"{"packages": [
            {"name": "strongroom", "dependencies": [{"name": "strongroom-tests", "path": "/x"}]}]}"#;
        let what = "strongroom depends on strongroom-tests, which is not below it";
        assert_eq!(found(metadata), [Finding::Broken(what.into())]);
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        let metadata = r#"{"packages": [{"name": "strongroom-extra", "dependencies": []}]}"#;
        let what = "the package strongroom-extra is on no layer";
        assert_eq!(found(metadata), [Finding::Broken(what.into())]);
    }

    #[test]
    fn every_layer_is_a_package_of_this_workspace() {
        let names: Vec<String> = packages().unwrap().into_iter().map(|package| package.name).collect();
        for layer in LAYERS {
            assert!(names.iter().any(|name| name == layer), "{layer}");
        }
    }
}
