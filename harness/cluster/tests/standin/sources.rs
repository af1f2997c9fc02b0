//! Stand-ins for what projects publish: definitions and objects of the names that matter, and nothing of their content.

use std::{io::Write, path::Path};

use sha2::Digest;

/// The stand-in for a source of that name.
pub fn text(name: &str) -> &'static str {
    match name {
        "scheme.yml" => POLICY,
        "k8s.cni.cncf.io_ipamclaims.yaml" => CLAIM,
        "multus-daemonset.yml" => MULTUS,
        "nmstate.io_nmstates.yaml" => NMSTATE,
        "nmstate-namespace.yaml" => {
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: \"{{ .OperatorNamespace }}\"}\n"
        }
        "nmstate-service-account.yaml" => SERVICE_ACCOUNT,
        "nmstate-role.yaml" | "nmstate-role-binding.yaml" => ROLE,
        "nmstate-operator.yaml" => OPERATOR,
        "cert-manager.yaml" => "apiVersion: v1\nkind: Namespace\nmetadata: {name: cert-manager}\n",
        "kubevirt-operator.yaml" => KUBEVIRT,
        "ipam-extensions.yaml" => {
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: kubevirt-ipam-controller-system}\n"
        }
        other => panic!("there is no stand-in for {other}"),
    }
}

const POLICY: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: multi-networkpolicies.k8s.cni.cncf.io}
spec:
  group: k8s.cni.cncf.io
  scope: Namespaced
  names: {plural: multi-networkpolicies, singular: multi-networkpolicy, kind: MultiNetworkPolicy}
  versions: [{name: v1beta1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
";

const CLAIM: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ipamclaims.k8s.cni.cncf.io}
spec:
  group: k8s.cni.cncf.io
  scope: Namespaced
  names: {plural: ipamclaims, singular: ipamclaim, kind: IPAMClaim}
  versions: [{name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
";

const MULTUS: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: network-attachment-definitions.k8s.cni.cncf.io}
spec:
  group: k8s.cni.cncf.io
  scope: Namespaced
  names: {plural: network-attachment-definitions, singular: network-attachment-definition, kind: NetworkAttachmentDefinition}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-multus-ds, namespace: kube-system}
spec:
  selector: {matchLabels: {app: kube-multus-ds}}
  template:
    metadata: {labels: {app: kube-multus-ds}}
    spec: {containers: [{name: c, image: \"ghcr.io/k8snetworkplumbingwg/multus-cni:snapshot\"}]}
";

const NMSTATE: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: nmstates.nmstate.io}
spec:
  group: nmstate.io
  scope: Cluster
  names: {plural: nmstates, singular: nmstate, kind: NMState}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

const SERVICE_ACCOUNT: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: nmstate-operator, namespace: {{ .OperatorNamespace }}}
";

const ROLE: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: nmstate-operator}
rules: []
";

const OPERATOR: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: nmstate-operator, namespace: {{ .OperatorNamespace }}}
spec:
  selector: {matchLabels: {app: nmstate-operator}}
  template:
    metadata: {labels: {app: nmstate-operator}}
    spec: {containers: [{name: c, image: \"{{ .OperatorImage }}\"}]}
";

const KUBEVIRT: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: kubevirt}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: kubevirts.kubevirt.io}
spec:
  group: kubevirt.io
  scope: Namespaced
  names: {plural: kubevirts, singular: kubevirt, kind: KubeVirt}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

/// A docker archive of one image that holds nothing but its own name.
pub fn archive(path: &Path, reference: &str) {
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "name", reference.as_bytes());
    let layer = layer.into_inner().unwrap();
    let diff_id = hex::encode(sha2::Sha256::digest(&layer));
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["sha256:{diff_id}"]}},"config":{{}}}}"#
    );
    let manifest = format!(
        r#"[{{"Config":"config.json","RepoTags":["{reference}"],"Layers":["layer.tar"]}}]"#
    );
    let mut tar = tar::Builder::new(std::fs::File::create(path).unwrap());
    append(&mut tar, "config.json", config.as_bytes());
    append(&mut tar, "layer.tar", &layer);
    append(&mut tar, "manifest.json", manifest.as_bytes());
    tar.finish().unwrap();
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content).unwrap();
}
