"""Lints the Helm chart, renders it with many values, and holds what comes out against the schemas of Kubernetes and against itself.

Called as `chart.py CHART FOLDER`: into the folder goes commands.json, what each container of two releases would run, and the chart's
script for containerd is run there. It needs helm-python-sdk and kubernetes-validate. The first flaw ends it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import helm_python as helm
import kubernetes_validate
import yaml

OLDEST, NEWEST = "1.26", "1.37"

ON_THE_NODE = {"node": {"hostNetwork": True}}
MIRROR = {**ON_THE_NODE, "containerd": {"enabled": True}}
EVERYTHING = {
    "fullnameOverride": "models",
    "bindAddress": "[::]",
    "image": {"tag": "1", "pullSecrets": [{"name": "pull"}]},
    "tracker": {
        "relay": True, "publishers": ["a" * 64], "extraArgs": ["--log-level=info"], "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}], "priorityClassName": "high", "podLabels": {"team": "ml"},
        "podAnnotations": {"note": "1"}, "affinity": {"nodeAffinity": {}}, "external": {"enabled": True, "annotations": {"lb": "x"}},
    },
    "node": {
        "hostNetwork": True, "site": "berlin", "upRate": "80mbit", "downRate": "10MiB", "extraArgs": ["--log-level=info"],
        "storage": {"hostPath": "/var/lib/p2p-fileshare"}, "tolerations": [{"operator": "Exists"}], "nodeSelector": {"a": "b"},
        "affinity": {"nodeAffinity": {}}, "priorityClassName": "high", "podLabels": {"team": "ml"}, "podAnnotations": {"note": "1"},
    },
    "gateway": {"hosts": ["models.example"]},
    "containerd": {"enabled": True, "registries": [{"host": "registry.example:5000", "server": "https://registry.example:5000"}]},
    "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "networkPolicy": {"enabled": True, "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
    "serviceAccount": {"annotations": {"a": "b"}},
}
GOOD = {
    "as it is": {},
    "open": {"swarm": {"mode": "open"}},
    "a small disk": {"node": {"storage": {"sizeLimit": "30Gi"}}, "gateway": {"cache": "20GiB"}},
    "daemon": {"node": {"command": "daemon", "storage": {"sizeLimit": "10Gi"}}, "metrics": {"serviceMonitor": {"enabled": True}}},
    "daemon, open": {"node": {"command": "daemon"}, "swarm": {"mode": "open"}},
    "daemon that listens": {"node": {"command": "daemon", "hostNetwork": True}, "gateway": {"withDaemon": True}},
    "on the node": ON_THE_NODE,
    "containerd": MIRROR,
    "containerd as it was": {**ON_THE_NODE, "containerd": {"enabled": True, "remove": True, "resolveTags": False}},
    "everything": EVERYTHING,
    "trackers alone": {"node": {"enabled": False}, "serviceAccount": {"create": False}},
    "nodes alone": {"tracker": {"enabled": False}, "node": {"trackerHost": "tracker.example.org"}},
}
BAD = {
    "a misspelt value": {"tracker": {"replica": 3}},
    "no such mode": {"swarm": {"mode": "private"}},
    "no such command": {"node": {"command": "share"}},
    "no trackers": {"tracker": {"replicas": 0}},
    "no port": {"tracker": {"port": 70000}},
    "no size": {"tracker": {"memory": "much"}},
    "a cache that fills its volume": {"node": {"storage": {"sizeLimit": "20Gi"}}, "gateway": {"cache": "20GiB"}},
    "a volume with a limit, and a cache without": {"node": {"storage": {"sizeLimit": "20Gi"}}, "gateway": {"cache": ""}},
    "no path": {"node": {"storage": {"hostPath": "data"}}},
    "a registry that leads out of containerd's folder": {"containerd": {"registries": [{"host": "../..", "server": "https://a"}]}},
    "a server that ends its quotes": {"containerd": {"registries": [{"host": "a.example", "server": "https://a\"\n"}]}},
    "containerd without the node's network": {"containerd": {"enabled": True}},
    "containerd with a daemon": {"containerd": {"enabled": True}, "node": {"hostNetwork": True, "command": "daemon"}},
    "containerd without nodes": {"containerd": {"enabled": True}, "node": {"hostNetwork": True, "enabled": False}},
    "a gateway for everyone without a token": {"gateway": {"tokenSecret": ""}},
    "a daemon that listens without a token": {
        "node": {"command": "daemon", "hostNetwork": True}, "gateway": {"withDaemon": True, "tokenSecret": ""},
    },
    "nodes without a tracker": {"tracker": {"enabled": False}},
}


def require(holds, sentence):
    if not holds:
        sys.exit(f"chart: {sentence}")


def documents(chart, values):
    rendered = chart.render(values, name="demo", namespace="prod")
    manifests = {name: text for name, text in rendered.items() if name.endswith(".yaml")}
    return [document for text in manifests.values() for document in yaml.safe_load_all(text) if document]


def check_schemas(name, found):
    """Every version that the chart says it is for; fields that none of them knows are refused."""
    custom = 0
    versions = [version for version in kubernetes_validate.utils.all_versions()]
    versions = {kubernetes_validate.utils.major_minor(version.split("-")[0]) for version in versions}
    require({OLDEST, NEWEST} <= versions, f"there are schemas of {sorted(versions)}, and {OLDEST} and {NEWEST} are needed")
    versions.discard("1.25")
    for document in found:
        if document["apiVersion"].startswith("monitoring.coreos.com/"):
            custom += 1
            continue
        for version in versions:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except Exception as error:
                sys.exit(f"chart, {name}: {document['kind']} {document['metadata']['name']} for {version}: {error}")
    return len(found) - custom, custom


def pod_of(document):
    return document["spec"]["template"] if document["kind"] in ("StatefulSet", "DaemonSet") else None


def check_pod(name, document):
    template = pod_of(document)
    spec, labels = template["spec"], template["metadata"]["labels"]
    where = f"{name}: {document['metadata']['name']}"
    selector = document["spec"]["selector"]["matchLabels"]
    require(selector.items() <= labels.items(), f"{where} selects other pods than its own")
    require(spec["enableServiceLinks"] is False, f"{where} gets addresses of services as settings")
    require(spec["automountServiceAccountToken"] is False, f"{where} has a token for the cluster")
    require(spec["securityContext"]["runAsNonRoot"], f"{where} runs as root")
    volumes = {volume["name"] for volume in spec["volumes"]}
    containers = spec["containers"] + spec.get("initContainers", [])
    mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}
    require(mounted == volumes, f"{where} mounts {sorted(mounted)} of {sorted(volumes)}")
    for container in containers:
        rights = container["securityContext"]
        require(rights["readOnlyRootFilesystem"] and not rights["allowPrivilegeEscalation"], f"{where}: {container['name']}'s rights")
        require(rights["capabilities"]["drop"] == ["ALL"], f"{where}: {container['name']} keeps capabilities")
        require("memory" in container["resources"]["limits"], f"{where}: {container['name']} may take all memory")
    main = spec["containers"][0]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        port = (main[probe].get("httpGet") or main[probe].get("tcpSocket"))["port"]
        require(port in ports_of(spec), f"{where}: {probe} asks at {port}")
    secrets = [volume for volume in spec["volumes"] if "secret" in volume]
    writable = {mount["name"] for mount in main["volumeMounts"] if not mount.get("readOnly")}
    require(not writable & {volume["name"] for volume in secrets}, f"{where} may write to a Secret")
    of_all = [item["key"] for volume in secrets for item in volume["secret"].get("items", [])]
    require("ca.key" not in of_all, f"{where} has the key of the authority")
    if spec.get("hostNetwork"):
        given = " ".join(main["args"])
        require("--gateway=127.0.0.1:" in given or "--gateway" not in given, f"{where} serves the node's network")
    return template


def ports_of(spec):
    return {port["name"] for container in spec["containers"] for port in container["ports"]}


def check_selectors(name, found):
    """Each Service, policy and budget finds pods, and ports of theirs."""
    templates = [check_pod(name, document) for document in found if pod_of(document)]
    names = [(document["kind"], document["metadata"]["name"]) for document in found]
    require(len(names) == len(set(names)), f"{name}: twice the same name in {names}")
    for document in found:
        kind, spec = document["kind"], document.get("spec", {})
        where = f"{name}: {kind} {document['metadata']['name']}"
        if kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            selector = spec.get("selector") or spec.get("podSelector")
            selector = selector.get("matchLabels", selector)
            pods = [pod for pod in templates if selector.items() <= pod["metadata"]["labels"].items()]
            require(len(pods) == 1, f"{where} selects {len(pods)} kinds of pods")
            for port in spec.get("ports", []) if kind == "Service" else []:
                require(port["targetPort"] in ports_of(pods[0]["spec"]), f"{where}: no port {port['targetPort']}")
        if kind == "ServiceMonitor":
            services = [other for other in found if other["kind"] == "Service"]
            services = [other for other in services if spec["selector"]["matchLabels"].items() <= other["metadata"]["labels"].items()]
            require(len(services) == 1, f"{where} selects {len(services)} services")
            ports = {port["name"] for port in services[0]["spec"]["ports"]}
            require(spec["endpoints"][0]["port"] in ports, f"{where}: no such port in {ports}")
            job = services[0]["metadata"]["labels"].get(spec["jobLabel"], "")
            require("p2p" in job, f"{where}: alerts do not find the job {job!r}")


def check_containerd(chart, folder):
    """Runs the script that writes hosts.toml: twice, with a file of somebody else's in the way, and to take it back."""
    found = documents(chart, EVERYTHING)
    files = next(document["data"] for document in found if document["kind"] == "ConfigMap")
    hosts, target = folder / "hosts", folder / "certs.d"
    hosts.mkdir()
    target.mkdir()
    for name, text in files.items():
        (hosts / name).write_text(text)
    def run(remove="false", overwrite="false"):
        variables = {"PATH": os.environ["PATH"], "FROM": str(hosts), "TO": str(target), "REMOVE": remove, "OVERWRITE": overwrite}
        done = subprocess.run(["sh", str(hosts / "set-up.sh")], env=variables, capture_output=True, text=True, timeout=30)
        require(done.returncode == 0, f"set-up.sh for containerd fails: {done.stderr}")
        return done.stdout

    place = target / "registry.example:5000" / "hosts.toml"
    for _ in range(2):
        require("is written" in run() and place.is_file(), "set-up.sh writes no hosts.toml")
    try:
        import tomllib
    except ImportError:  # before Python 3.11
        tomllib = None
    if tomllib:
        read = tomllib.loads(place.read_text())
        require(read["server"] == "https://registry.example:5000", f"hosts.toml says {read}")
        require(read["host"]["http://127.0.0.1:8642"]["capabilities"] == ["pull", "resolve"], f"hosts.toml says {read}")
    run(remove="true")
    require(not place.parent.exists(), "set-up.sh leaves what it wrote")
    place.parent.mkdir()
    place.write_text("server = 'theirs'\n")
    for remove in ("false", "true"):
        require("somebody else's" in run(remove), "set-up.sh does not say whose hosts.toml is there")
        require("theirs" in place.read_text(), "set-up.sh replaces what somebody else wrote")
    require("is written" in run(overwrite="true") and "theirs" not in place.read_text(), "set-up.sh does not overwrite")


def commands(chart, values):
    """What each program of a release is started with, by its container's name."""
    pods = [pod_of(document)["spec"] for document in documents(chart, values) if pod_of(document)]
    return {
        container["name"]: {
            "command": container["command"] + container["args"],
            "variables": {variable["name"]: variable.get("value") for variable in container.get("env", [])},
        }
        for pod in pods
        for container in pod["containers"]
    }


def check_documented(path):
    """README.md names each value."""
    text = Path(path, "README.md").read_text()
    common = {"extraArgs", "resources", "podAnnotations", "podLabels", "nodeSelector", "tolerations", "affinity", "priorityClassName"}

    def leaves(values, prefix=""):
        for key, value in values.items():
            whole = ("podSecurityContext", "securityContext", "node.updateStrategy")
            if isinstance(value, dict) and value and prefix + key not in whole and key not in common:
                yield from leaves(value, f"{prefix}{key}.")
            else:
                yield prefix + key

    for leaf in leaves(yaml.safe_load(Path(path, "values.yaml").read_text())):
        named = leaf.split(".")[-1] if leaf.split(".")[-1] in common else leaf
        require(f"`{named}`" in text, f"README.md does not say what {leaf} is")


def main(path, folder):
    report = helm.lint(path, strict=True)
    require(not report["errors"], f"helm lint: {report['errors']}")
    check_documented(path)
    known, custom = 0, 0
    with helm.Chart.load(path) as chart:
        for name, values in GOOD.items():
            found = documents(chart, values)
            valid, unknown = check_schemas(name, found)
            known, custom = known + valid, custom + unknown
            check_selectors(name, found)
        for name, values in BAD.items():
            try:
                chart.validate_schema(values)
                chart.render(values, name="demo", namespace="prod")
            except helm.HelmError:
                continue
            sys.exit(f"chart: {name} is not refused")
        check_containerd(chart, folder)
        runs = {name: commands(chart, GOOD[name]) for name in ("as it is", "open", "daemon", "on the node", "containerd")}
        (folder / "commands.json").write_text(json.dumps(runs))
    print(f"chart: {len(GOOD)} sets of values, {known} documents valid for Kubernetes {OLDEST} to {NEWEST}, {custom} of other kinds"
          f" not held against a schema, {len(BAD)} sets refused, hosts.toml written and taken back")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
