//! What checks manifests, charts, rules and units: helm, kustomize, kubeconform with the schemas of Kubernetes, promtool,
//! systemd-analyze.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{started_or_unavailable, tools};

/// A program that checks something.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Names it.
    pub variable: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// Where it is in the tools folder.
    pub place: &'static str,
}

/// Renders charts.
pub const HELM: Tool = Tool { variable: "STRONGROOM_TEST_HELM", name: "helm", place: "helm-v3.22.0/helm" };
/// The Go module of it, and its version.
pub const HELM_MODULE: (&str, &str) = ("helm.sh/helm/v3/cmd/helm", "v3.22.0");

/// Renders overlays.
pub const KUSTOMIZE: Tool =
    Tool { variable: "STRONGROOM_TEST_KUSTOMIZE", name: "kustomize", place: "kustomize-v5.8.2/kustomize" };
/// The Go module of it, and its version.
pub const KUSTOMIZE_MODULE: (&str, &str) = ("sigs.k8s.io/kustomize/kustomize/v5", "v5.8.2");

/// Holds manifests against schemas.
pub const KUBECONFORM: Tool = Tool {
    variable: "STRONGROOM_TEST_KUBECONFORM",
    name: "kubeconform",
    place: "kubeconform-v0.8.0/kubeconform",
};
/// The Go module of it, and its version.
pub const KUBECONFORM_MODULE: (&str, &str) = ("github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0");

/// Checks and tests rules, and checks metrics.
pub const PROMTOOL: Tool = Tool {
    variable: "STRONGROOM_TEST_PROMTOOL",
    name: "promtool",
    place: "prometheus-bookworm/usr/bin/promtool",
};
/// The Debian package of it, and the release.
pub const PROMTOOL_PACKAGE: (&str, &str) = ("prometheus", "bookworm");

/// Python with the schemas of Kubernetes, and PyYAML.
pub const SCHEMAS: Tool = Tool {
    variable: "STRONGROOM_TEST_KUBERNETES_SCHEMAS",
    name: "the schemas of Kubernetes",
    place: "kubernetes-python/bin/python",
};
/// The folder of its virtual environment in the tools folder.
pub const SCHEMAS_ENVIRONMENT: &str = "kubernetes-python";
/// What that environment holds, as pip writes it.
pub const SCHEMAS_REQUIREMENTS: [&str; 2] = ["kubernetes-validate==1.37.0", "PyYAML==6.0.3"];

/// Checks units. Debian's own, because it judges by what this system has.
pub const SYSTEMD_ANALYZE: Tool =
    Tool { variable: "STRONGROOM_TEST_SYSTEMD_ANALYZE", name: "systemd-analyze", place: "" };

impl Tool {
    /// The program.
    ///
    /// # Errors
    /// When it is not there.
    pub fn find(self) -> Result<PathBuf> {
        let on_system = || Some(PathBuf::from("/usr/bin").join(self.name)).filter(|path| path.is_file());
        let is_named = std::env::var_os(self.variable).is_some();
        match self.place {
            "" if !is_named => on_system()
                .with_context(|| format!("{} is not installed (`cargo xtask test` does that)", self.name)),
            place => tools::program(self.variable, place),
        }
    }

    /// The program; `None` where it is not installed, which is then already counted as a skipped test.
    ///
    /// # Errors
    /// When it is not there in CI.
    pub fn found(self) -> Result<Option<PathBuf>> {
        started_or_unavailable(self.name, self.find(), Ok)
    }
}
